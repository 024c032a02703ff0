"""Draws the pictures with matplotlib. Every picture's heading names the data set."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.common.files import replacing

DPI = 110
mpl.rcdefaults()  # whatever stands in a file matplotlibrc in the project's folder, which matplotlib reads first


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG without version or date in its metadata, so that it depends on the figure alone."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})


def digit_sheet(images: np.ndarray, titles: Sequence[str], heading: str, columns: int = 5) -> Figure:
    """Draws a grid of images (n, height, width), each below its title of up to two lines."""
    _, height, width = images.shape
    rows = max(1, -(-len(images) // columns))
    pitch_y, pitch_x = round(1.45 * height), round(1.2 * width)
    paper = np.zeros((rows * pitch_y, columns * pitch_x))  # one picture is far faster than one axes per digit
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows + 0.5))
    axis = figure.add_axes((0, 0, 1, 1 - 0.5 / figure.get_figheight()), frameon=False, xticks=[], yticks=[])
    figure.suptitle(heading, y=1 - 0.12 / figure.get_figheight(), va="top")
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        top, left = place // columns * pitch_y + pitch_y - height, place % columns * pitch_x + (pitch_x - width) // 2
        paper[top : top + height, left : left + width] = image / max(image.max(), 1e-9)
        axis.text(left + width / 2, top - 0.5, title, ha="center", va="bottom", fontsize=9)
    if not len(images):
        axis.text(pitch_x / 2, pitch_y / 2, "none", fontsize=12)
    axis.imshow(paper, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    return figure


def confusion_matrix(counts: pd.DataFrame, shares: pd.DataFrame, heading: str) -> Figure:
    """Draws two matrices (classes, classes) side by side: images, and their shares of the row's label, NaN for none.

    Colour shows the share of the label's images, on a scale that ends a little above the largest error, so that errors
    stand out beside a diagonal near 100 %.
    """
    wrong = shares.where(~np.eye(len(shares), dtype=bool)).max().max()
    side = max(5.2, 0.52 * len(counts))
    figure = Figure(figsize=(2 * side, side))
    figure.suptitle(heading, y=1 - 0.08 / side, va="top")
    figure.subplots_adjust(left=0.27 / side, right=1 - 0.05 / side, bottom=0.5 / side, top=1 - 0.55 / side, wspace=0.12)
    panels = (("images", counts, "{:,.0f}"), ("% of the label's images", 100 * shares, "{:.1f}"))
    for axis, (title, cells, form) in zip(figure.subplots(1, 2), panels, strict=True):
        axis.imshow(shares, cmap="Oranges", vmin=0, vmax=max(wrong, 1e-9) * 1.6)
        axis.set(title=title, xlabel="prediction", ylabel="label")
        axis.set_xticks(range(len(counts)), counts.columns)
        axis.set_yticks(range(len(counts)), counts.index)
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            if value > 0:  # neither 0 nor NaN
                colour = "white" if row == column else "black"
                axis.text(column, row, form.format(value), ha="center", va="center", fontsize=8, color=colour)
    return figure
