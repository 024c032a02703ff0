"""Stores many small images as one PNG, pixel for pixel: small enough for git, and data for tools.

Image k is in row k // COLUMNS and column k % COLUMNS. The last row is padded with black.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.files import replacing

COLUMNS = 25
MAX_ROWS = 400  # 10,000 images, the most that params.yaml may ask for


def join(images: np.ndarray) -> np.ndarray:
    """Joins images, uint8 (n, height, width[, 3]), into one: uint8 (rows × height, COLUMNS × width[, 3]).

    It has at least one row.
    """
    count, height, width, *channels = images.shape
    rows = max(1, -(-count // COLUMNS))
    filled = np.zeros((rows * COLUMNS, height, width, *channels), np.uint8)
    filled[:count] = images
    tiles = filled.reshape(rows, COLUMNS, height, width, *channels).swapaxes(1, 2)
    return tiles.reshape(rows * height, COLUMNS * width, *channels)


def split(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Inverts `join`: uint8 (rows × COLUMNS, height, width[, 3]), including the black padding of the last row."""
    channels = picture.shape[2:]
    tiles = picture.reshape(-1, height, COLUMNS, width, *channels).swapaxes(1, 2)
    return tiles.reshape(-1, height, width, *channels)


def write(images: np.ndarray, path: Path) -> None:
    """Writes images, uint8 (n, height, width[, 3]), as one PNG, in grey or in colour."""
    with replacing(path) as partial:
        Image.fromarray(join(images)).save(partial, format="png", optimize=True)


def read(content: bytes, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Reads the images of a PNG from `write`, as `split` returns them. Raises `ValueError` for any other PNG."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        rows, rest = divmod(picture.height, height)
        if (
            picture.mode != ("RGB" if channels == 3 else "L")
            or picture.width != COLUMNS * width
            or rest
            or rows > MAX_ROWS
        ):
            actual = f"found {picture.width} × {picture.height}, mode {picture.mode}"
            raise ValueError(f"expected {COLUMNS} images of {height} × {width} pixels per row, {actual}")
        return split(np.asarray(picture), height, width)
