"""Draws your own pictures: each as it is, as the model saw it, and with the predicted probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from stages.results.pictures import shorten

THUMBNAIL = 160  # maximum pixels per side
COLUMNS = 3
CELL = 3.8, 1.65  # inches: a line of text, two 1-inch squares and bars below it, and a line for a note
LABELLED = 0.05  # minimum probability whose label is black


@dataclass(frozen=True)
class Cell:
    """One picture: path, small copy, what the model saw (float32 (height, width)), and a note on what was left out."""

    path: str
    picture: Image.Image | None
    seen: np.ndarray
    note: str


def thumbnail(picture: Image.Image) -> Image.Image:
    """A small copy in RGBA."""
    small = picture.convert("RGBA")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def sheet(cells: Sequence[Cell], probabilities: np.ndarray, heading: str) -> Figure:
    """Draws a grid of the cells, with the probabilities, float32 (n, classes), as bars beside each picture."""
    columns = min(COLUMNS, len(cells))
    width, height = columns * CELL[0], -(-len(cells) // columns) * CELL[1]
    figure = Figure(figsize=(width, height + 0.5))
    figure.suptitle(heading, x=0.15 / width, y=1 - 0.15 / (height + 0.5), ha="left", va="top")
    axis = figure.add_axes((0, 0, 1, height / (height + 0.5)), frameon=False, xticks=[], yticks=[])  # one is fast
    for place, (cell, shares) in enumerate(zip(cells, probabilities, strict=True)):
        left, top = place % columns * CELL[0] + 0.15, place // columns * CELL[1]
        shorten(axis.text(left, top + 0.12, cell.path, fontsize=8, va="center"), CELL[0] - 0.2, end=1)
        _draw_image(axis, cell.picture, left, top + 0.27)
        _draw_image(axis, cell.seen, left + 1.1, top + 0.27, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        _draw_bars(axis, shares, left + 2.25, top + 0.27)
        axis.text(left, top + 1.38, cell.note, fontsize=7, va="center", color="#b04a00")
    axis.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _draw_image(axis: Axes, image: Image.Image | np.ndarray, left: float, top: float, **options: object) -> None:
    """Draws an image in the middle of a 1-inch square."""
    height, width = np.shape(image)[:2]
    height, width = height / max(height, width), width / max(height, width)
    left, top = left + (1 - width) / 2, top + (1 - height) / 2
    axis.imshow(image, extent=(left, left + width, top + height, top), aspect="auto", **options)
    axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor="#bbbbbb", linewidth=0.6))


def _draw_bars(axis: Axes, shares: np.ndarray, left: float, top: float) -> None:
    """Draws one bar per class, 1.2 inches wide in total, with the class below and the largest probability above."""
    pitch, foot, tall = 1.2 / len(shares), top + 0.87, 0.6
    places = left + pitch * (np.arange(len(shares)) + 0.5)
    axis.text(left, top + 0.1, f"{shares.argmax()}: {shares.max():.1%}", fontsize=9, va="center")
    axis.bar(places, -tall * shares, width=0.8 * pitch, bottom=foot, color="#13659c")
    axis.plot((left, left + 1.2), (foot, foot), color="#bbbbbb", linewidth=0.6)
    for label, (place, share) in enumerate(zip(places, shares, strict=True)):
        colour = "black" if share >= LABELLED else "#999999"
        axis.text(place, foot + 0.08, label, fontsize=7, ha="center", va="center", color=colour)
