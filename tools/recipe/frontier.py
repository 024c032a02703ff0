"""Draws docs/recipes/frontier.png, accuracy against cost, from results.csv (python -m tools.recipe.frontier)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.common.errors import command
from stages.common.pictures import save
from tools.common.charts import OURS
from tools.recipe.__main__ import FOLDER


def frontier(results: pd.DataFrame) -> Figure:
    """Draws one panel for the accuracy on held-out training images, by which recipes are chosen, and one for the test.

    Args:
        results: a row for each recipe tried: `recipe`, `images` (validation or test), `cost` (of the CPU time that a
            training of the tutorial's `cnn` takes), mean `accuracy`.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axis, images in zip(figure.subplots(1, 2), ("validation", "test"), strict=True):
        shown = results[results["images"] == images].sort_values("cost")
        axis.plot(shown["cost"], shown["accuracy"], "o", color=OURS, alpha=0.6)
        best = shown[shown["accuracy"].cummax() == shown["accuracy"]].drop_duplicates("accuracy")
        axis.step(best["cost"], best["accuracy"], where="post", color=OURS, linewidth=1)
        for number, row in enumerate(shown.itertuples()):  # above and below in turn, as neighbours are close
            place = (4, -9 if number % 2 else 4)
            axis.annotate(row.recipe, (row.cost, row.accuracy), xytext=place, textcoords="offset points", fontsize=7)
        axis.margins(x=0.2)
        axis.set(xlabel="cost, in trainings of cnn", ylabel="accuracy", title=f"{images} images")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
        axis.grid(alpha=0.3)
    return figure


@command
def main() -> None:
    """Draws the frontier of the recipes that were tried."""
    save(frontier(pd.read_csv(FOLDER / "results.csv")), FOLDER / "frontier.png")


if __name__ == "__main__":
    main()
