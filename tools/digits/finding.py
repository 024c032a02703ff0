"""Finds the one digit in a picture, by the connected shapes of its ink. Raises `ValueError` if there is not one."""

import math

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3))  # a pixel and its neighbours
CONTRAST = 0.1  # of black to white: minimum contrast of ink and paper; below it the picture is blank
PAPER, INK = 0.15, 0.4  # of the strongest ink: below, a pixel is paper; above, it is drawn
SHEET, FULL = 0.1, 0.7  # minimum area of a sheet on a desk: of the picture, and of its bounding box
BLANK = 0.8  # of a sheet's area: minimum without ink
SPECK = 0.05  # of the largest shape's area: smaller shapes are left out
TOGETHER = 0.1  # of the largest shape's size: strokes with a smaller gap are one shape
ENCLOSED = 0.3  # of a frame's size: minimum size of the digit in it
CLOSE = 0.85  # of the picture's height and width: a digit that touches the border fills at least this much
TALL = 0.6  # of the total height: minimum height of each of two shapes side by side
# The shares in brackets are of MNIST's training digits
WIDE, WIDEST = 1.3, 1.5  # ratio of width to height: noted (3 % are above), refused (1 %)
LONG, LONGEST = 3.2, 3.8  # ratio of total stroke length to height: noted (4 %), refused (0.5 %)
EDGED = 0.7  # of a side of its bounding box: drawn on at least three sides, it is a frame
FULLEST = 0.75  # of its bounding box: maximum area of a digit that is not narrow like a 1 (0.1 % are above 0.7)
THICKEST = 0.55  # maximum ratio of stroke thickness to the digit's size (0.1 % are above 0.5)


def find(light: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Cuts the digit out of lightness, float32 (height, width) in [0, 1]; it must have `least` pixels in one direction.

    Returns its ink, float32 (rows, columns) in [0, 1], its pixels, bool (rows, columns), and notes.
    """
    if min(light.shape) < least:
        height, width = light.shape
        raise ValueError(f"expected a picture at least {least} pixels high and wide, found {height} x {width} pixels")
    light, notes = _without_desk(light)
    ink = _ink(light)
    drawn, more = _without_frame(ink > INK, least)
    digit = _one_shape(drawn)
    ink[(ink > INK) & ~digit] = 0
    notes = notes + more + _check(digit, least)
    return ink[_box(digit)], digit[_box(digit)], notes


def _without_desk(light: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Crops lightness, (height, width), to the sheet of paper on a desk, if there is one; and a note."""
    bright = light > (light.min() + light.max()) / 2
    differs = bright != (_border(bright).mean() > 0.5)
    if not differs.any() or _border(differs).any():
        return light, []
    sheet = _largest(ndimage.binary_fill_holes(differs))
    area, blank = np.count_nonzero(sheet), np.count_nonzero(sheet & differs)
    if area < max(SHEET * sheet.size, FULL * math.prod(_size(_box(sheet)))) or not BLANK * area < blank < area:
        return light, []
    inner = ndimage.binary_erosion(sheet, iterations=max(2, max(sheet.shape) // 60))
    return np.where(inner, light, np.median(light[inner]))[_box(inner)], ["surroundings left out"]


def _ink(light: np.ndarray) -> np.ndarray:
    """Returns how much each pixel differs from the paper around it: float32 (height, width) in [0, 1]."""
    middle = (light.min() + light.max()) / 2
    if np.mean(_border(light) > middle) + np.mean(light > middle) < 1:
        light = 1 - light
    paper = ndimage.grey_closing(light, size=max(3, max(light.shape) // 3))  # photographs have uneven light
    ink = paper - light
    if (contrast := ink.max()) < CONTRAST:
        raise ValueError(f"expected a digit, found a blank picture (contrast {contrast:.0%} of black to white)")
    return np.where(ink < PAPER * contrast, 0, ink / contrast).astype(np.float32)


def _without_frame(drawn: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
    """Removes the frame around the drawing, or what touches the picture's border, if a digit may remain."""
    shapes, _ = ndimage.label(drawn, EIGHT)
    frame = shapes == 1 + np.argmax([max(_size(box)) for box in ndimage.find_objects(shapes)])
    inner = drawn & ~frame & ndimage.binary_fill_holes(frame)
    if not inner.any():
        frame = drawn & np.isin(shapes, _border(shapes))
        inner = drawn & ~frame
    if not inner.any() or not frame.any():
        return drawn, []
    size, minimum = max(_size(_box(_largest(inner)))), max(least, ENCLOSED * max(_size(_box(frame))))
    return (inner, ["frame or lines left out"]) if size >= minimum else (drawn, [])


def _one_shape(drawn: np.ndarray) -> np.ndarray:
    """Returns the one digit without specks, bool (height, width), with the strokes above it or close to it."""
    shapes, count = ndimage.label(drawn, EIGHT)
    areas = ndimage.sum_labels(drawn, shapes, range(1, count + 1))
    digit = np.isin(shapes, 1 + np.flatnonzero(areas >= SPECK * areas.max()))
    reach = TOGETHER * max(_size(_box(_largest(digit)))) / 2
    groups, _ = ndimage.label(ndimage.distance_transform_edt(~digit) <= reach, EIGHT)
    boxes = ndimage.find_objects(np.where(digit, groups, 0))
    rows, columns = max(boxes, key=lambda box: max(_size(box)))
    middle = (rows.start + rows.stop) / 2
    if apart := sum(y.start > middle or x.start >= columns.stop or x.stop <= columns.start for y, x in boxes):
        raise ValueError(f"expected one digit, found {1 + apart} separate shapes")
    return digit


def _check(digit: np.ndarray, least: int) -> list[str]:
    """Raises `ValueError` if the shape cannot be a digit. Returns a note if it may be two."""
    height, width = _size(_box(digit))
    if max(height, width) < least:
        raise ValueError(f"expected a digit at least {least} pixels high or wide, found {height} x {width} pixels")
    if _border(digit).any() and (height < CLOSE * digit.shape[0] or width < CLOSE * digit.shape[1]):
        raise ValueError("expected one digit, found a shape that touches the border")
    if width > WIDEST * height:
        raise ValueError(f"expected one digit, found a shape {width / height:.1f} times as wide as high")
    tall = [_size(box)[0] >= TALL * height for box in ndimage.find_objects(ndimage.label(digit, EIGHT)[0])]
    if sum(tall) > 1:
        raise ValueError(f"expected one digit, found {sum(tall)} shapes side by side")
    part = digit[_box(digit)]
    within = ndimage.distance_transform_edt(np.pad(part, 1))
    is_full = 2 * width > height and np.count_nonzero(within) > FULLEST * height * width
    if is_full or 2 * within.max() - 1 > THICKEST * max(height, width):
        raise ValueError("expected one digit, found a filled shape")
    across, down = 1 + height // 12, 1 + width // 12  # pixels at each side of the bounding box
    edges = part[:across].any(0), part[-across:].any(0), part[:, :down].any(1), part[:, -down:].any(1)
    if 2 * width > height and sum(edge.mean() > EDGED for edge in edges) > 2:
        raise ValueError("expected one digit, found a frame")
    thickness = 4 * within[within > 0].mean() - 2  # the average distance to the edge is a quarter of it
    length = np.count_nonzero(within) / thickness / height
    if length > LONGEST:
        raise ValueError(f"expected one digit, found strokes {length:.1f} times as long as the shape is high")
    return ["perhaps two digits"] if width > WIDE * height or length > LONG else []


def _border(values: np.ndarray) -> np.ndarray:
    """Returns the pixels at the border, in a row."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _box(shape: np.ndarray) -> tuple[slice, slice]:
    """Returns the bounding box of all that is drawn: slices of rows and columns."""
    return ndimage.find_objects(shape.astype(np.uint8))[0]


def _size(box: tuple[slice, slice]) -> tuple[int, int]:
    """Returns height and width of a box, in pixels."""
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _largest(shapes: np.ndarray) -> np.ndarray:
    """Returns the shape with the largest area."""
    pieces, _ = ndimage.label(shapes, EIGHT)
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
