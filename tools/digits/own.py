"""A person's own picture of a digit, prepared the way MNIST was.

MNIST's digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect ratio", with
grey levels from anti-aliasing, then "centered in a 28x28 image by computing the center of mass of the
pixels" (Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist/).
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from stages.common.errors import PipelineError

BOX = 20 / 28  # of the image's side
LARGEST = 1000  # pixels a side that are looked at; a larger picture is made smaller first
CONTRAST = 0.1  # between paper and ink, of black to white; below it the picture counts as blank
INK = 0.4  # of the strongest ink: what certainly belongs to the digit
PAPER = 0.15  # of the strongest ink: what certainly is paper
STROKE = 2 / 28  # of the image's side, at least: two pixels of 28
SPECK = 0.05  # of the largest stroke's area: what is smaller is no part of the digit


def read(path: Path) -> Image.Image:
    """Opens a picture, turned as its EXIF data says; raises `PipelineError` if it is none or damaged."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError as error:
        raise PipelineError(f"{path}: expected a picture, such as PNG or JPEG; found something else") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PipelineError(f"{path}: too large a picture: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged file
        raise PipelineError(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from error


def prepare(picture: Image.Image, height: int, width: int) -> np.ndarray:
    """The digit as a model takes it: float32 (height, width), 0 for paper, 1 for the strongest ink.

    Dark on light or the reverse. The line of a thin pen is broadened to `STROKE`, which MNIST's pencils and
    felt pens did not need. Raises `ValueError` if there is nothing on the paper.
    """
    ink = _ink(_grey(picture))
    digit = _strokes(ink > INK)
    rows, columns = np.nonzero(digit)
    cut = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    box = round(BOX * height), round(BOX * width)
    missing = round(STROKE * height / _scale(cut, box) - _thickness(digit))
    if missing > 0:
        cut = ndimage.grey_dilation(np.pad(cut, missing), size=(missing + 1, missing + 1))
    size = [max(1, round(_scale(cut, box) * side)) for side in reversed(cut.shape)]
    small = np.asarray(Image.fromarray(cut).resize(size, Image.Resampling.LANCZOS)).clip(0)
    return _centred(small / small.max(), height, width)


def _strokes(ink: np.ndarray) -> np.ndarray:
    """Where the digit is, bool (height, width): the largest connected stroke and all that are no specks beside it."""
    strokes, count = ndimage.label(ink, structure=np.ones((3, 3)))
    areas = ndimage.sum_labels(ink, strokes, range(1, count + 1))
    return np.isin(strokes, 1 + np.flatnonzero(areas >= SPECK * areas.max()))


def _thickness(digit: np.ndarray) -> float:
    """How thick the strokes of a digit, bool (height, width), are, in pixels: twice the way from their middle out."""
    return 2 * np.percentile(ndimage.distance_transform_edt(digit)[digit], 90)


def _scale(cut: np.ndarray, box: tuple[int, int]) -> float:
    """The factor by which the cut just fits into the box, its sides in proportion."""
    return min(box[0] / cut.shape[0], box[1] / cut.shape[1])


def _grey(picture: Image.Image) -> np.ndarray:
    """Lightness, float32 (height, width) in [0, 1]; transparent parts become paper."""
    if picture.mode.startswith(("I", "F")):  # 16 bits
        picture = Image.fromarray(np.asarray(picture, dtype=np.float32) / 257).convert("L")
    picture = picture.convert("RGBA")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    lightness, opacity = (np.asarray(picture.convert(mode), dtype=np.float32) / 255 for mode in ("RGB", "RGBA"))
    lightness, opacity = lightness @ np.array([0.299, 0.587, 0.114], np.float32), opacity[..., 3]
    drawn = np.average(lightness, weights=opacity) if opacity.any() else 1
    paper = 1 if drawn < 0.5 else 0  # whichever shows what is drawn
    return lightness * opacity + (paper if opacity.min() < 1 else 0) * (1 - opacity)


def _ink(grey: np.ndarray) -> np.ndarray:
    """How much darker, or lighter, than the paper around it a pixel is: float32 (height, width) in [0, 1]."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) < (grey.min() + grey.max()) / 2:
        grey = 1 - grey
    side = max(3, max(grey.shape) // 3)
    paper = ndimage.grey_closing(grey, size=(side, side))  # light falls unevenly on a photographed page
    ink = ndimage.median_filter(paper - grey, size=3 if min(grey.shape) > 100 else 1)
    if ink.max() < CONTRAST:
        raise ValueError(f"expected a digit, found a blank picture (contrast {ink.max():.0%} of black to white)")
    return np.where(ink < PAPER * ink.max(), 0, ink / ink.max()).astype(np.float32)


def _centred(digit: np.ndarray, height: int, width: int) -> np.ndarray:
    """The digit with its centre of mass in the middle of an image, or as near to it as it fits."""
    image = np.zeros((height, width), np.float32)
    centre = ndimage.center_of_mass(digit)
    top, left = (
        int(np.clip(round(whole / 2 - middle), 0, whole - part))
        for whole, middle, part in zip((height, width), centre, digit.shape, strict=True)
    )
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image


def sheet(pictures: list[Image.Image], seen: list[np.ndarray], probabilities: np.ndarray, heading: str) -> Figure:
    """A row for each picture: as it is, as the model sees it, and the probabilities, float32 (n, classes)."""
    figure = Figure(figsize=(8, 2.2 * len(pictures) + 0.6), layout="constrained")
    figure.suptitle(heading)
    rows = figure.subplots(len(pictures), 3, squeeze=False)
    for (left, middle, right), picture, image, shares in zip(rows, pictures, seen, probabilities, strict=True):
        small = picture.convert("RGBA")
        small.thumbnail((LARGEST, LARGEST))
        left.imshow(small)
        left.set_title("the picture", fontsize=10)
        middle.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        middle.set_title("what the model saw", fontsize=10)
        for axis in (left, middle):
            axis.set(xticks=[], yticks=[])
        right.bar(range(len(shares)), shares, color="#13659c")
        right.set(xticks=range(len(shares)), ylim=(0, 1), title=f"{shares.argmax()}: {shares.max():.1%}")
        right.yaxis.set_major_formatter(PercentFormatter(1))
    return figure
