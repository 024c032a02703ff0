"""Draws the charts of all architectures with matplotlib. Every heading names the data set."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

OURS, PUBLISHED = "#13659c", "#888888"
SPLITS = {"train": ("#13659c", "-"), "validation": ("#d1602b", "--")}
CURVES = ("accuracy", "loss")
MOST_COUNTS = 20  # numbers of seeds beside a curve


def comparison(table: pd.DataFrame, heading: str) -> Figure:
    """Draws each architecture's test accuracy with its interval, and the published one where there is one.

    `table` has the columns of `tools.common.comparison.comparison_table`, best first.
    """
    figure = Figure(figsize=(8, 0.5 * len(table) + 1.6), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(table))
    spread = np.abs(table[["low", "high"]].to_numpy().T - table["accuracy"].to_numpy())
    label = f"test accuracy, {table['confidence'][0]:.0%} interval"
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
    """Draws accuracy and loss over epochs, train against validation, one row of panels per architecture.

    `history` has the columns architecture, epoch, split, metric, value, and maybe low, high and seeds.
    """
    names = list(history["architecture"].unique())
    height = 2.3 * len(names) + 0.6  # inches, as are the margins; computing the layout takes a second more
    figure = Figure(figsize=(8, height))
    figure.suptitle(heading, y=1 - 0.15 / height, va="top")
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.6 / height, top=1 - 0.85 / height, hspace=0.6, wspace=0.2)
    panels = figure.subplots(len(names), 2, squeeze=False, sharex=False, sharey="col")
    for row, name in zip(panels, names, strict=True):
        for axis, metric in zip(row, CURVES, strict=True):
            _curves(axis, history[history["architecture"] == name], metric)
            axis.set_title(f"{name}: {metric}", fontsize=10)
        row[0].legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def before_and_after(base: pd.DataFrame | None, head: pd.DataFrame | None, heading: str) -> Figure:
    """Draws one architecture's accuracy and loss over epochs: the base faint, now strong.

    The histories have the columns epoch, split, metric, value, and maybe seeds; `None` for a side that has none.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    figure.suptitle(heading)
    panels = figure.subplots(1, 2)
    for axis, metric in zip(panels, CURVES, strict=True):
        if base is not None:
            _curves(axis, base, metric, "base: ", alpha=0.4, linewidth=1)
        if head is not None:
            _curves(axis, head, metric, "now: ")
        axis.set_title(metric, fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _curves(axis: Axes, history: pd.DataFrame, metric: str, prefix: str = "", **style: Any) -> None:
    """Draws one metric's curves, a line for each split in the history."""
    for split, (colour, line) in SPLITS.items():
        curve = history[(history["metric"] == metric) & (history["split"] == split)]
        if len(curve):
            if {"low", "high"} <= set(curve):  # over the seeds
                axis.fill_between(curve["epoch"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
            axis.plot(curve["epoch"], curve["value"], line, color=colour, marker=".", label=prefix + split, **style)
            if "seeds" in curve:
                _number_of_seeds(axis, curve, history["seeds"].max(), colour, style.get("alpha"))
    axis.set(xlabel="epoch", ylabel=metric)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)


def _number_of_seeds(axis: Axes, curve: pd.DataFrame, most: int, colour: str, alpha: float | None) -> None:
    """Writes beside a curve how many seeds are left, at each epoch from which on there are others than before."""
    before = curve["seeds"].shift(fill_value=most)
    for row in curve[curve["seeds"] != before].head(MOST_COUNTS).itertuples():
        text = f"{row.seeds} seed{'s' if row.seeds > 1 else ''}"
        place, above = (row.epoch, row.value), (0, 7)
        axis.annotate(
            text, place, above, textcoords="offset points", ha="center", fontsize=7, color=colour, alpha=alpha
        )
