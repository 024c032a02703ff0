"""Draws docs/recipes/frontier.png, accuracy against cost, from results.csv (python -m tools.recipe.frontier)."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from stages.results.pictures import save
from stages.support.errors import command
from tools.common.charts import OURS, PUBLISHED
from tools.recipe.__main__ import FOLDER

TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50)


def frontier(results: pd.DataFrame) -> Figure:
    """Draws one panel for the accuracy on held-out training images, by which recipes are chosen, and one for the test.

    Args:
        results: a row for each recipe tried: `recipe`, `images` (validation or test; "goal, test" for a goal), `cost`
            (in the time that a training of the tutorial's `cnn` takes), mean `accuracy`.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axis, images in zip(figure.subplots(1, 2), ("validation", "test"), strict=True):
        shown = results[results["images"] == images].sort_values("cost")
        axis.plot(shown["cost"], shown["accuracy"], "o", color=OURS, alpha=0.6)
        best = shown[shown["accuracy"].cummax() == shown["accuracy"]].drop_duplicates("accuracy")
        axis.step(best["cost"], best["accuracy"], where="post", color=OURS, linewidth=1)
        upwards = shown.sort_values("accuracy", kind="stable").itertuples()
        for number, row in enumerate(upwards):  # below and above in turn, as neighbours are close
            _label(axis, row, (4, 4 if number % 2 else -9), "left")
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
    """Writes a recipe's name beside its point."""
    axis.annotate(row.recipe, (row.cost, row.accuracy), xytext=place, textcoords="offset points", ha=side, fontsize=7)


@command
def main() -> None:
    """Draws the frontier of the recipes that were tried."""
    save(frontier(pd.read_csv(FOLDER / "results.csv")), FOLDER / "frontier.png")


if __name__ == "__main__":
    main()
