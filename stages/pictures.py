"""The pictures, drawn with matplotlib. Every picture's heading names the data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from stages.files import replacing

DPI = 110
TRAIN, VALIDATION, OURS, PUBLISHED = "#13659c", "#d1602b", "#13659c", "#888888"


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG that depends on the figure alone: no version or date in its metadata."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})


def digit_sheet(images: np.ndarray, titles: Sequence[str], heading: str, columns: int = 5) -> Figure:
    """A grid of images (n, height, width), each below its title of up to two lines."""
    _, height, width = images.shape
    rows = max(1, -(-len(images) // columns))
    pitch_y, pitch_x = round(1.45 * height), round(1.2 * width)
    paper = np.zeros((rows * pitch_y, columns * pitch_x))  # one picture: far faster than an axes a digit
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
    """Two matrices (classes, classes) side by side: images, and their shares of the row's label.

    Colour shows the share of the label's images, on a scale that ends a little above the largest wrong
    one, so that the errors can be told apart beside a diagonal near 100 %.
    """
    wrong = shares.where(~np.eye(len(shares), dtype=bool)).max().max()
    side = max(5.2, 0.52 * len(counts))
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    figure.suptitle(heading)
    panels = (("images", counts, "{:,.0f}"), ("% of the label's images", 100 * shares, "{:.1f}"))
    for axis, (title, cells, form) in zip(figure.subplots(1, 2), panels, strict=True):
        axis.imshow(shares, cmap="Oranges", vmin=0, vmax=max(wrong, 1e-9) * 1.6)
        axis.set(title=title, xlabel="prediction", ylabel="label")
        axis.set_xticks(range(len(counts)), counts.columns)
        axis.set_yticks(range(len(counts)), counts.index)
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            if value:
                colour = "white" if row == column else "black"
                text = axis.text(column, row, form.format(value), ha="center", va="center", fontsize=8, color=colour)
                text.set_in_layout(False)  # it lies inside its cell; measuring it takes seconds
    return figure


def comparison(table: pd.DataFrame, confidence: float, heading: str) -> Figure:
    """Test accuracy of each architecture with its interval, and the published figure where there is one.

    `table` has the columns of `stages.tables.compare`, best first.
    """
    figure = Figure(figsize=(8, 0.5 * len(table) + 1.6), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(table))
    spread = np.abs(table[["low", "high"]].to_numpy().T - table["accuracy"].to_numpy())
    label = f"test accuracy, {confidence:.0%} interval"
    axis.errorbar(table["accuracy"], places, xerr=spread, fmt="o", color=OURS, capsize=3, label=label)
    if table["published"].notna().any():
        axis.plot(table["published"], places, "D", color=PUBLISHED, mfc="none", label="published by the tutorial")
    axis.set_yticks(places, table["architecture"])
    axis.set(xlabel="test accuracy", title=heading)
    axis.invert_yaxis()
    axis.margins(y=0.5 / len(table))
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def training_curves(history: pd.DataFrame, heading: str) -> Figure:
    """Accuracy and loss over epochs, train against validation, one row of panels an architecture.

    `history` has the columns architecture, epoch, split, metric, value.
    """
    names = list(history["architecture"].unique())
    figure = Figure(figsize=(8, 2.3 * len(names) + 0.6), layout="constrained")
    figure.suptitle(heading)
    panels = figure.subplots(len(names), 2, squeeze=False, sharex=False, sharey="col")
    styles = {"train": (TRAIN, "-"), "validation": (VALIDATION, "--")}
    for row, name in zip(panels, names, strict=True):
        for axis, metric in zip(row, ("accuracy", "loss"), strict=True):
            for split, (colour, line) in styles.items():
                curve = history.query("architecture == @name and metric == @metric and split == @split")
                if len(curve):
                    axis.plot(curve["epoch"], curve["value"], line, color=colour, marker=".", label=split)
            axis.set_title(f"{name}: {metric}", fontsize=10)
            axis.set(xlabel="epoch", ylabel=metric)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(alpha=0.3)
        row[0].legend(loc="lower right", fontsize=8, frameon=False)
    return figure
