"""Prepares your own picture of a digit as MNIST was prepared.

MNIST's digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect ratio", then "centered in
a 28x28 image by computing the center of mass of the pixels" (LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from stages.support.errors import PipelineError, printable
from tools.digits.finding import find
from tools.digits.pictures import lightness, read

BOX = 20 / 28  # of the image's side
LEAST = 0.4  # of the box: the minimum height or width of a digit, in pixels of the picture
STROKE = 2 / 28  # of the image's side: the minimum thickness of a stroke, 2 pixels of 28


def prepare_all(paths: Sequence[Path], height: int, width: int) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yields the path of each picture, what the model sees, and a note; prints why others show no single digit."""
    for path in paths:
        name = printable(str(path))
        try:
            picture, notes = read(path)
            image, more = prepare(picture, height, width)
            yield name, image, ", ".join(notes + more)
        except (PipelineError, ValueError) as error:
            print(f"error: {error if isinstance(error, PipelineError) else f'{name}: {error}'}", file=sys.stderr)


def prepare(picture: Image.Image, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Prepares a digit for the model: float32 (height, width), 0 for paper, 1 for the strongest ink; and notes.

    Thin strokes are thickened to `STROKE`, as MNIST's are not thinner. Raises `ValueError` if the picture does not show
    exactly one digit, or the digit is smaller than `LEAST`.
    """
    box = round(BOX * height), round(BOX * width)
    ink, digit, notes = find(lightness(picture), least=round(LEAST * max(box)))
    thickness = 2 * np.percentile(ndimage.distance_transform_edt(digit)[digit], 90)
    scale = min(box[0] / ink.shape[0], box[1] / ink.shape[1])
    missing = round(STROKE * height / scale - thickness)
    if missing > 0:
        ink = ndimage.grey_dilation(np.pad(ink, missing), size=(missing + 1, missing + 1))
        scale = min(box[0] / ink.shape[0], box[1] / ink.shape[1])
    size = [max(1, round(scale * side)) for side in reversed(ink.shape)]
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.LANCZOS)).clip(0)
    small /= small.max()
    image = np.zeros((height, width), np.float32)
    parts = zip(image.shape, ndimage.center_of_mass(small), small.shape, strict=True)
    top, left = (int(np.clip(round(whole / 2 - middle), 0, whole - part)) for whole, middle, part in parts)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image, notes
