"""Draws frontier.png, the accuracy of recipes against their cost, from results.csv."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from stages.results.pictures import save

HERE = Path(__file__).parent


def frontier(results: pd.DataFrame) -> Figure:
    """Draws the accuracy on held-out training images, by which recipes are chosen, and on the test images.

    `results` has a row for each recipe: `recipe`, `images` (validation or test; "goal, test" for a goal), `cost` (in
    trainings of the tutorial's `cnn`), mean `accuracy`.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axis, images in zip(figure.subplots(1, 2), ("validation", "test"), strict=True):
        axis.set(xlabel="cost, in trainings of cnn", ylabel="accuracy", title=f"{images} images", xscale="log")
        axis.margins(x=0.2)
        for kind, marker in ((images, "o"), (f"goal, {images}", "D")):
            shown = results[results["images"] == kind].sort_values("accuracy", kind="stable")
            axis.plot(shown["cost"], shown["accuracy"], marker)
            for number, row in enumerate(shown.itertuples()):  # labels below and above in turn, as neighbours are close
                place = (4, 4 if number % 2 else -9)
                axis.annotate(row.recipe, (row.cost, row.accuracy), place, textcoords="offset points", fontsize=7)
        axis.xaxis.set_major_locator(FixedLocator((1, 2, 3, 5, 10, 20, 50)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    return figure


if __name__ == "__main__":
    save(frontier(pd.read_csv(HERE / "results.csv")), HERE / "frontier.png")
