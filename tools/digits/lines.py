"""Removes what surrounds a digit: frames, ruled lines, shapes at the picture's border."""

import numpy as np
from scipy import ndimage

from tools.digits.shapes import EIGHT, along, at_border, box, largest, shapes_by_size, size

SPECK = 0.05  # of the largest shape's area: smaller shapes are not part of the digit
SMALLEST = 0.08  # of the picture's shorter side: minimum size of a digit if something touches the border
RULE = 0.5  # of the picture's side: minimum length of a ruled line
FRAME = 0.6  # of a frame's side: minimum length of its lines
SHORTEST = 30  # pixels: shorter lines cannot be distinguished from strokes
ENCLOSED = 0.3  # of a frame's size: minimum size of the digit in it
FRAMES = 3  # maximum number of frames removed
GAP = 0.05  # of the digit's height: minimum gap to a short line below


def without_surroundings(drawn: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
    """Removes shapes that touch the border, ruled lines first, if something the size of a digit remains."""
    outer = at_border(drawn)
    if not outer.any():
        return drawn, []
    erased, rules = _without_rules(outer, RULE * np.array(drawn.shape))
    rest = erased | (drawn & ~outer)
    inside = rest & ~at_border(rest)
    if inside.any() and max(size(largest(inside))) >= max(least, SMALLEST * min(drawn.shape)):
        if rules:
            return inside, ["ruled lines left out"]
        specks = np.count_nonzero(outer) < SPECK * np.count_nonzero(largest(inside))
        return inside, [] if specks else ["shapes at the border left out"]
    if rules >= 3:
        raise ValueError(f"expected one digit, found {rules} ruled lines")
    return drawn, []


def without_frames(drawn: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
    """Removes frames around the drawing, and longer lines above, below or beside it."""
    notes = []
    for _ in range(FRAMES):
        frame = shapes_by_size(drawn)[0]
        rest = drawn & ~frame
        erased, rules = _without_rules(frame, FRAME * np.array(size(frame)))
        touches = rules >= 3 and _holds(erased, frame, least)
        if rules >= 3 and not rest.any() and not touches:
            raise ValueError("expected one digit, found an empty frame")
        if touches:
            drawn = rest | erased
        elif _holds(rest & _inside(frame, rules), frame, least) or (rest.any() and _is_line(frame, rest)):
            drawn = rest
        else:
            break
        notes = ["frame or line left out"]
    for shape in shapes_by_size(drawn)[1:FRAMES]:
        if _is_line(shape, drawn & ~shape, below=True):
            return drawn & ~shape, ["frame or line left out"]
    return drawn, notes


def _holds(inner: np.ndarray, frame: np.ndarray, least: int) -> bool:
    """Whether `inner` holds something large enough for a digit in `frame`; both are bool (height, width)."""
    return inner.any() and max(size(largest(inner))) >= max(least, ENCLOSED * max(size(frame)))


def _inside(frame: np.ndarray, rules: int) -> np.ndarray:
    """The inside of a frame: its hole, or the area between its lines if it is open."""
    if rules < 2:
        return ndimage.binary_fill_holes(frame) & ~frame
    between = np.zeros_like(frame)
    between[box(frame)] = True
    return between


def _is_line(shape: np.ndarray, rest: np.ndarray, below: bool = False) -> bool:
    """Whether a shape is a line as long as the rest (with `below`: right below it), not a stroke or a 1 beside it."""
    for line, other in ((shape, rest), (shape.T, rest.T)):
        (rows, columns), (others, span) = box(line), box(other)
        width, height = columns.stop - columns.start, rows.stop - rows.start
        thin = height <= 0.2 * width and 6 * np.count_nonzero(line) <= width**2
        under = others.stop + GAP * (others.stop - others.start) <= rows.start
        beside = rows.stop <= others.start or others.stop <= rows.start
        if below and (line is not shape or not under):
            continue
        excess = 0 if line is shape else 0.1 * (span.stop - span.start)
        if thin and beside and columns.start <= span.start - excess and span.stop + excess <= columns.stop:
            return True
    return False


def _without_rules(shapes: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, int]:
    """Removes horizontal and vertical lines of at least `least` (rows, columns) pixels, and counts them.

    Keeps strokes that cross a line whole.
    """
    across = _rules(shapes, least[1])
    down = [line.T for line in _rules(shapes.T, least[0])]
    rest = shapes & ~np.logical_or.reduce([np.zeros_like(shapes), *across, *down])
    crossing = np.zeros_like(shapes)
    for lines, axis in ((across, 0), (down, 1)):
        for line in lines:
            gap = int(line.sum(axis=axis).max()) + 3
            bridged = ~along(~rest, gap | 1, axis)
            crossing |= bridged & line & shapes
    return rest | crossing, len(across) + len(down)


def _rules(shapes: np.ndarray, least: float) -> list[np.ndarray]:
    """Horizontal lines at least `least` pixels long, tilted by up to about ten degrees; one bool mask per line."""
    if least < SHORTEST:
        return []
    run, thickest = int(least / 10) | 1, int(least / 12) | 1
    thin = shapes & ~along(shapes, thickest, axis=0)
    level = ~along(~along(thin, run, axis=1), int(least / 3) | 1, axis=1)  # rejoins a line that a stroke crosses
    pieces, _ = ndimage.label(level, EIGHT)
    found = []
    for place, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
        if columns.stop - columns.start < least:
            continue
        y, x = np.nonzero((pieces[rows, columns] == place) & thin[rows, columns])
        thickness = np.median(np.bincount(x)[np.unique(x)])
        line = np.polyfit(x, y, 1)
        if (np.abs(y - np.polyval(line, x)) > thickness + 1).mean() > 0.25:
            continue
        every = np.arange(shapes.shape[1]) - columns.start
        middle = rows.start + np.polyval(line, every)
        band = np.abs(np.arange(shapes.shape[0])[:, np.newaxis] - middle) <= thickness / 2 + 1
        band[:, (every < -run) | (every > columns.stop - columns.start + run)] = False
        found.append(band)
    return found
