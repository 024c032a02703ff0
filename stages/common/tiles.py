"""Many small images as one PNG, pixel for pixel: small enough for git, a picture to people, data to tools.

Image k stands in row k // COLUMNS and column k % COLUMNS; the last row is filled up with black.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.files import replacing

COLUMNS = 25


def join(images: np.ndarray) -> np.ndarray:
    """The images, uint8 (n, height, width), as one: uint8 (rows × height, COLUMNS × width), one row at least."""
    count, height, width = images.shape
    rows = max(1, -(-count // COLUMNS))
    filled = np.zeros((rows * COLUMNS, height, width), np.uint8)
    filled[:count] = images
    return filled.reshape(rows, COLUMNS, height, width).swapaxes(1, 2).reshape(rows * height, COLUMNS * width)


def split(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inverse of `join`: uint8 (rows × COLUMNS, height, width), the last row's black ones included."""
    return picture.reshape(-1, height, COLUMNS, width).swapaxes(1, 2).reshape(-1, height, width)


def write(images: np.ndarray, path: Path) -> None:
    """Writes the images, uint8 (n, height, width), as a grey PNG."""
    with replacing(path) as partial:
        Image.fromarray(join(images)).save(partial, format="png", optimize=True)


def read(content: bytes, height: int, width: int) -> np.ndarray:
    """The images of a PNG that `write` wrote, as `split` returns them; raises `ValueError` if it is no such PNG."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        if picture.mode != "L" or picture.width != COLUMNS * width or picture.height % height:
            found = f"found {picture.width} × {picture.height}, mode {picture.mode}"
            raise ValueError(f"expected {COLUMNS} grey images of {height} × {width} pixels in a row, {found}")
        return split(np.asarray(picture), height, width)
