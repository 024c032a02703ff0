"""Shapes: the connected parts of a mask, bool (height, width), including diagonal neighbours."""

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3))  # a pixel and its neighbours


def border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def at_border(shapes: np.ndarray) -> np.ndarray:
    """The shapes that touch the picture's border, within a small margin."""
    margin = max(1, min(shapes.shape) // 100)
    inner = np.zeros_like(shapes)
    inner[margin:-margin, margin:-margin] = True
    return ndimage.binary_propagation(shapes & ~inner, EIGHT, mask=shapes)


def box(shape: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of the shape: slices of rows and columns."""
    return tuple(slice(along.argmax(), len(along) - along[::-1].argmax()) for along in (shape.any(1), shape.any(0)))


def size(shape: np.ndarray) -> tuple[int, int]:
    """Height and width of a shape, in pixels."""
    return tuple(part.stop - part.start for part in box(shape))


def largest(shapes: np.ndarray) -> np.ndarray:
    """The shape with the largest area."""
    pieces, _ = ndimage.label(shapes, EIGHT)
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()


def shapes_by_size(shapes: np.ndarray, count: int = 3) -> list[np.ndarray]:
    """The `count` shapes with the greatest height or width, largest first."""
    pieces, _ = ndimage.label(shapes, EIGHT)
    sizes = [max(part.stop - part.start for part in place) for place in ndimage.find_objects(pieces)]
    return [pieces == 1 + place for place in np.argsort(sizes, kind="stable")[: -1 - count : -1]]


def along(shapes: np.ndarray, run: int, axis: int) -> np.ndarray:
    """The pixels in runs of at least `run` pixels along an axis."""
    eroded = ndimage.minimum_filter1d(shapes.astype(np.uint8), run, axis=axis)
    return ndimage.maximum_filter1d(eroded, run, axis=axis).astype(bool)
