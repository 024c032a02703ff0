"""Separates ink from paper."""

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull

from tools.digits.shapes import border, box, largest

CONTRAST = 0.1  # of black to white: minimum contrast of ink and paper; below it the picture is blank
PAPER = 0.15  # of the strongest ink: below it, a pixel is paper
SHEET = 0.1  # of the picture's area: minimum area of a sheet of paper on a desk
SHEETS = 250  # pixels per side of the reduced picture in which sheets are searched
EMPTY = 0.7, 0.998  # of a sheet's area: minimum and maximum part that is blank
RECTANGLE = 0.85  # of the smallest rectangle around a sheet: its minimum area; a circle's is pi / 4


def sheet_of_paper(light: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Crops to the sheet of paper on a desk, or to the inside of a frame around the picture, if there is one.

    Takes and returns lightness, float32 (height, width) in [0, 1]; also returns notes. A sheet is a rectangle
    with a drawing on it that differs from most of the picture's border.
    """
    small = np.asarray(Image.fromarray(light).reduce(-(-max(light.shape) // SHEETS)))
    bright = small > _threshold(small)
    differs = bright != (np.median(border(bright)) > 0.5)
    if not differs.any():
        return light, []
    whole = largest(ndimage.binary_fill_holes(differs))
    inner = ndimage.binary_erosion(whole, iterations=max(2, max(whole.shape) // 60), border_value=1)
    if not inner.any() or not _is_sheet(small, whole, inner, differs):
        return light, []
    inner = np.asarray(Image.fromarray(inner).resize(light.shape[::-1], Image.Resampling.NEAREST))
    return np.where(inner, light, np.median(light[inner]))[box(inner)], ["surroundings left out"]


def _is_sheet(light: np.ndarray, whole: np.ndarray, inner: np.ndarray, differs: np.ndarray) -> bool:
    """Whether a shape is a large rectangle, neither blank nor full, with a sharp edge (unlike a change of light)."""
    paper, area = np.count_nonzero(whole & differs), np.count_nonzero(whole)
    around = ndimage.binary_dilation(whole, iterations=3) & ~whole
    edge = whole & ~inner & differs
    return (
        area >= SHEET * whole.size
        and EMPTY[0] * area < paper < EMPTY[1] * area
        and area >= RECTANGLE * _rectangle(whole)
        and around.any()
        and abs(np.median(light[around]) - np.median(light[edge])) >= CONTRAST
    )


def _threshold(values: np.ndarray) -> float:
    """Otsu's threshold between light and dark (https://doi.org/10.1109/TSMC.1979.4310076)."""
    counts, edges = np.histogram(values, 256, (0, 1))
    below, sums = np.cumsum(counts), np.cumsum(counts * edges[1:])
    share = below / below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * share - sums) ** 2 / (share * (1 - share))
    return edges[1 + np.nanargmax(np.where(np.isfinite(between), between, -1))]


def _rectangle(shape: np.ndarray) -> float:
    """Area of the smallest rectangle, at any angle, around a shape, bool (height, width)."""
    points = np.argwhere(shape ^ ndimage.binary_erosion(shape))
    hull = points[ConvexHull(points).vertices]
    angles = np.radians(np.arange(0, 90, 2))
    turned = hull @ np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
    return (np.ptp(turned, axis=1) + 1).prod(axis=1).min()


def ink_on(light: np.ndarray) -> np.ndarray:
    """How much darker (or lighter) each pixel is than the paper around it: float32 (height, width) in [0, 1]."""
    middle = (light.min() + light.max()) / 2
    if np.mean(border(light) > middle) + np.mean(light > middle) < 1:
        light = 1 - light
    side = max(3, max(light.shape) // 3)
    paper = ndimage.grey_closing(light, size=(side, side))  # photographs have uneven light
    ink = paper - light
    if ink.max() < CONTRAST:
        raise ValueError(f"expected a digit, found a blank picture (contrast {ink.max():.0%} of black to white)")
    return np.where(ink < PAPER * ink.max(), 0, ink / ink.max()).astype(np.float32)
