"""Prepares your own picture of a digit as MNIST was prepared.

MNIST's digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect ratio", with
grey levels from anti-aliasing, then "centered in a 28x28 image by computing the center of mass of the
pixels" (Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist/).
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
from tools.digits.sheet import Cell, thumbnail

BOX = 20 / 28  # of the image's side
LEAST = 0.4  # of the box: the minimum height or width of a digit, in pixels of the picture
STROKE = 2 / 28  # of the image's side: the minimum thickness of a stroke, 2 pixels of 28


def each(paths: Sequence[Path], height: int, width: int, thumbnails: int) -> Iterator[Cell]:
    """Yields pictures one at a time, prepared for the model; the first `thumbnails` of them with a small copy.

    Skips pictures that do not show one digit, and prints why on stderr.
    """
    for path in paths:
        try:
            picture, notes = read(path)
            try:
                seen, found = prepare(picture, height, width)
            except ValueError as error:
                raise PipelineError(f"{path}: {error}") from error
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        yield Cell(printable(str(path)), thumbnail(picture) if thumbnails > 0 else None, seen, ", ".join(notes + found))
        thumbnails -= 1


def prepare(picture: Image.Image, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Prepares a digit for the model: float32 (height, width), 0 for paper, 1 for the strongest ink; and notes.

    The picture may be dark on light or light on dark. Thin strokes are thickened to `STROKE`; MNIST's, from
    pencils and felt pens, are not thinner. The notes say what was removed from the picture. Raises
    `ValueError` if the picture does not show exactly one digit, or the digit is smaller than `LEAST`.
    """
    box = round(BOX * height), round(BOX * width)
    cut, digit, notes = find(lightness(picture), least=round(LEAST * max(box)))
    missing = round(STROKE * height / _scale(cut, box) - _thickness(digit))
    if missing > 0:
        cut = ndimage.grey_dilation(np.pad(cut, missing), size=(missing + 1, missing + 1))
    size = [max(1, round(_scale(cut, box) * side)) for side in reversed(cut.shape)]
    small = np.asarray(Image.fromarray(cut).resize(size, Image.Resampling.LANCZOS)).clip(0)
    return _centred(small / small.max(), height, width), notes


def _thickness(digit: np.ndarray) -> float:
    """Thickness of the strokes of a digit, bool (height, width), in pixels: twice the distance from middle to edge."""
    return 2 * np.percentile(ndimage.distance_transform_edt(digit)[digit], 90)


def _scale(cut: np.ndarray, box: tuple[int, int]) -> float:
    """The factor that scales the cut to fit into the box and keeps its proportions."""
    return min(box[0] / cut.shape[0], box[1] / cut.shape[1])


def _centred(digit: np.ndarray, height: int, width: int) -> np.ndarray:
    """Puts the digit's centre of mass in the middle of an image, or as near to it as the digit fits."""
    image = np.zeros((height, width), np.float32)
    centre = ndimage.center_of_mass(digit)
    top, left = (
        int(np.clip(round(whole / 2 - middle), 0, whole - part))
        for whole, middle, part in zip((height, width), centre, digit.shape, strict=True)
    )
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
