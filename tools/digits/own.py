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

BOX = 20 / 28  # of the image's side
LEAST = 0.4  # of the box: the minimum height or width of a digit, in pixels of the picture
STROKE = 2 / 28  # of the image's side: the minimum thickness of a stroke, 2 pixels of 28


def prepare_all(paths: Sequence[Path], height: int, width: int) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yields the path of each picture, what the model sees, float32 (height, width), and a note on what was left out.

    Skips pictures that do not show one digit, and prints why on stderr.
    """
    for path in paths:
        try:
            picture, notes = read(path)
            image, more = prepare(picture, height, width)
            yield printable(str(path)), image, ", ".join(notes + more)
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
        except ValueError as error:
            print(f"error: {printable(str(path))}: {error}", file=sys.stderr)


def prepare(picture: Image.Image, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Prepares a digit for the model: float32 (height, width), 0 for paper, 1 for the strongest ink; and notes.

    Thin strokes are thickened to `STROKE`, as MNIST's are not thinner. Raises `ValueError` if the picture does not show
    exactly one digit, or the digit is smaller than `LEAST`.
    """
    box = round(BOX * height), round(BOX * width)
    ink, digit, notes = find(lightness(picture), least=round(LEAST * max(box)))
    thickness = 2 * np.percentile(ndimage.distance_transform_edt(digit)[digit], 90)
    missing = round(STROKE * height / _scale(ink, box) - thickness)
    if missing > 0:
        ink = ndimage.grey_dilation(np.pad(ink, missing), size=(missing + 1, missing + 1))
    size = [max(1, round(_scale(ink, box) * side)) for side in reversed(ink.shape)]
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.LANCZOS)).clip(0)
    return _centred(small / small.max(), height, width), notes


def _scale(ink: np.ndarray, box: tuple[int, int]) -> float:
    """The factor that scales the ink to fit into the box and keeps its proportions."""
    return min(box[0] / ink.shape[0], box[1] / ink.shape[1])


def _centred(digit: np.ndarray, height: int, width: int) -> np.ndarray:
    """Puts the digit's centre of mass in the middle of an image, or as near to it as the digit fits."""
    image = np.zeros((height, width), np.float32)
    middle = ndimage.center_of_mass(digit)
    top = int(np.clip(round(height / 2 - middle[0]), 0, height - digit.shape[0]))
    left = int(np.clip(round(width / 2 - middle[1]), 0, width - digit.shape[1]))
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
