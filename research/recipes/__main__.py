"""Draws frontier.png, the accuracy of recipes against their cost, from results.csv."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from stages.results.pictures import save
from tools.common.charts import OURS, PUBLISHED

HERE = Path(__file__).parent
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50)


def frontier(results: pd.DataFrame) -> Figure:
    """Draws a panel for the accuracy on held-out training images, by which recipes are chosen, and one for the test.

    `results` has a row for each recipe: `recipe`, `images` (validation or test; "goal, test" for a goal), `cost` (in
    trainings of the tutorial's `cnn`), mean `accuracy`.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axis, images in zip(figure.subplots(1, 2), ("validation", "test"), strict=True):
        shown = results[results["images"] == images].sort_values("cost")
        axis.plot(shown["cost"], shown["accuracy"], "o", color=OURS, alpha=0.6)
        best = shown[shown["accuracy"].cummax() == shown["accuracy"]].drop_duplicates("accuracy")
        axis.step(best["cost"], best["accuracy"], where="post", color=OURS, linewidth=1)
        for number, row in enumerate(shown.sort_values("accuracy", kind="stable").itertuples()):
            _label(axis, row, (4, 4 if number % 2 else -9), "left")  # below and above in turn, as neighbours are close
        for row in results[results["images"] == f"goal, {images}"].itertuples():
            axis.plot(row.cost, row.accuracy, "D", color=PUBLISHED, mfc="none")
            _label(axis, row, (-6, 4), "right")
        axis.margins(x=0.2)
        axis.set(xlabel="cost, in trainings of cnn", ylabel="accuracy", title=f"{images} images", xscale="log")
        axis.xaxis.set_major_locator(FixedLocator(TICKS))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
        axis.grid(alpha=0.3)
    return figure


def _label(axis: Axes, row: Any, place: tuple[int, int], side: str) -> None:
    axis.annotate(row.recipe, (row.cost, row.accuracy), xytext=place, textcoords="offset points", ha=side, fontsize=7)


if __name__ == "__main__":
    save(frontier(pd.read_csv(HERE / "results.csv")), HERE / "frontier.png")
