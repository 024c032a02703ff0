"""Finds the digit in a picture: on a sheet of paper, inside a frame, across ruled lines.

Uses shapes only: the connected parts of the ink, their size, position and straightness. Raises a
`ValueError` that says what was found if this is not one digit.
"""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from tools.digits.lines import SPECK, without_frames, without_surroundings
from tools.digits.paper import ink_on, sheet_of_paper
from tools.digits.shapes import EIGHT, at_border, box, largest, size

Box = tuple[slice, slice]

INK = 0.4  # of the strongest ink: above it, a pixel belongs to a drawing
TOGETHER = 0.1  # of the largest shape's size: strokes with a smaller gap are one digit
HOVERING = 0.6  # weight of vertical gaps, as below the bar of a 5
TALLER = 1.5  # maximum factor by which a stroke above or below makes a digit taller; else it is another digit
MARK = 0.4  # of the digit's size: smaller separate shapes are marks beside it
WIDEST = 2.2  # maximum ratio of width to height; MNIST's training digits are below 2.0
WIDE = 1.5  # ratio of width to height above which a note is made; 99 % of MNIST's training digits are below
FULLEST = 0.75  # of its bounding box: maximum area of a digit not narrow like a 1; 99.9 % of MNIST's are below 0.7
TALL = 0.6  # of the total height: minimum height of each of two shapes side by side
LONGEST = 5  # maximum ratio of total stroke length to the digit's size; MNIST's training digits are below 4
THICKEST = 0.55  # maximum ratio of stroke thickness to the digit's size; 99.9 % of MNIST's are below 0.5


def find(light: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Cuts the digit out of a picture.

    Args:
        light: lightness, float32 (height, width) in [0, 1], dark on light or light on dark.
        least: least height or width of the digit, in pixels.

    Returns:
        Ink, float32 (rows, columns) in [0, 1], 0 outside the digit; the pixels of the digit, bool (rows, columns);
        and notes on what was left out.
    """
    if min(light.shape) < least:
        height, width = light.shape
        raise ValueError(f"expected a picture at least {least} pixels high and wide, found {height} x {width} pixels")
    light, notes = sheet_of_paper(light)
    ink = ink_on(light)
    drawn = digit = ink > INK
    for step in (without_surroundings, without_frames, _one_digit):
        digit, more = step(digit, least)
        notes = notes + more
    cut = box(digit)
    ink, drawn, digit = ink[cut], drawn[cut], digit[cut]
    nearest = ndimage.distance_transform_edt(~drawn, return_distances=False, return_indices=True)
    return np.where(digit[tuple(nearest)], ink, 0), digit, notes


def _one_digit(drawn: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
    """Keeps the one digit, without specks and small marks beside it."""
    shapes, count = ndimage.label(drawn, EIGHT)
    areas = ndimage.sum_labels(drawn, shapes, range(1, count + 1))
    kept = np.isin(shapes, 1 + np.flatnonzero(areas >= SPECK * areas.max()))
    reach = TOGETHER * max(size(largest(kept))) / 2
    groups, _ = ndimage.label(ndimage.distance_transform_edt(~kept, sampling=(HOVERING, 1)) <= reach, EIGHT)
    boxes = ndimage.find_objects(np.where(kept, groups, 0))
    sizes = np.array([max(part.stop - part.start for part in group) for group in boxes])
    main = int(sizes.argmax())
    apart = np.array([not _belongs(group, boxes[main]) for group in boxes])
    large = 1 + np.count_nonzero(apart & (sizes >= MARK * sizes[main]))
    if large > 1:
        raise ValueError(f"expected one digit, found {large} separate shapes")
    digit = kept & np.isin(groups, 1 + np.flatnonzero(~apart))
    _check(digit, least)
    notes = ["small marks left out"] if apart.any() else []
    if at_border(digit).any() and np.less(size(digit), 0.9 * np.array(digit.shape)).any():
        notes.append("touches the border")
    if size(digit)[1] > WIDE * size(digit)[0]:
        notes.append("wide for one digit")
    return digit, notes


def _belongs(stroke: Box, digit: Box) -> bool:
    """Whether a stroke is part of a digit: inside, right above or right below it."""
    (rows, columns), (all_rows, all_columns) = stroke, digit
    common = min(columns.stop, all_columns.stop) - max(columns.start, all_columns.start)
    height = max(rows.stop, all_rows.stop) - min(rows.start, all_rows.start)
    over = common > 0.3 * (columns.stop - columns.start)
    return over and height <= TALLER * (all_rows.stop - all_rows.start)


def _stand_apart(digit: np.ndarray) -> bool:
    """Whether two tall shapes are side by side without overlapping, and together wide."""
    height, width = size(digit)
    shapes = ndimage.find_objects(ndimage.label(digit, EIGHT)[0])
    columns = [columns for rows, columns in shapes if rows.stop - rows.start >= TALL * height]
    return width > 1.2 * height and any(a.stop <= b.start or b.stop <= a.start for a, b in pairwise(columns))


def _check(digit: np.ndarray, least: int) -> None:
    """Raises `ValueError` if the shape cannot be a digit."""
    height, width = size(digit)
    if max(height, width) < least:
        raise ValueError(f"expected a digit at least {least} pixels high or wide, found {height} x {width} pixels")
    if width > WIDEST * height:
        raise ValueError(f"expected one digit, found a shape {width / height:.1f} times as wide as high")
    if _stand_apart(digit):
        raise ValueError("expected one digit, found 2 shapes side by side")
    within = ndimage.distance_transform_edt(np.pad(digit[box(digit)], 1))
    full = 2 * width > height and np.count_nonzero(within) > FULLEST * height * width
    if full or 2 * within.max() - 1 > THICKEST * max(height, width):
        raise ValueError("expected one digit, found a filled shape")
    thickness = 4 * within[within > 0].mean() - 2  # the average distance to the edge is a quarter of it
    length = np.count_nonzero(within) / thickness
    ratio = length / max(height, width)
    if ratio > LONGEST:
        raise ValueError(f"expected one digit, found strokes {ratio:.0f} times as long as the shape")
