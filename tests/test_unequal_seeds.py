"""Figures over seeds of which some ended earlier than others, or lack a figure that others have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stages.results.predictions import Predictions
from tools.common import charts
from tools.common.comparison import to_csv

from .conftest import Project
from .reviews import of_models
from .test_few import overview
from .test_pipeline import vega_svg

LABEL = np.array([0, 1, 1, 0])
TRAIN, VALIDATION = [[0.5, 0.6], [0.5, 0.7, 0.8, 0.9], [0.4, 0.6, 0.75]], [[0.4, 0.5], [0.5, 0.6, 0.5, 0.6], [0.5] * 3]


def trained(train: list[list[float]] = TRAIN, validation: list[list[float]] = VALIDATION) -> Predictions:
    """Three models after trainings with these accuracies for each epoch; of the loss, it is the same."""
    rows = [
        (seed, epoch, split, metric, value)
        for split, sides in (("train", train), ("validation", validation))
        for metric in ("accuracy", "loss")
        for seed, values in enumerate(sides, start=10)
        for epoch, value in enumerate(values, start=1)
    ]
    models = of_models(LABEL, np.stack([LABEL] * len(train)), np.ones(4), classes=2)
    return replace(models, history=rows)


def series(history: pd.DataFrame, column: str, split: str = "train") -> list[float]:
    return history[(history["split"] == split) & (history["metric"] == "accuracy")][column].tolist()


@pytest.mark.parametrize(
    "validation",
    [[[0.4, 0.5], [], [0.5] * 3], [[], [], []], [[0.4, 0.5], [0.5, 0.6, 0.5, 0.6], [0.5, 0.5]]],
    ids=["one seed has none", "none", "one seed has none of its last epoch"],
)
def test_there_is_no_gap_where_a_seed_has_no_validation(validation: list[list[float]]) -> None:
    models = trained(validation=validation)
    assert models.of_seeds["train_accuracy"].tolist() == [0.6, 0.9, 0.75]
    assert "gap" not in models.metrics(1)


def test_a_history_counts_the_seeds_of_each_epoch() -> None:
    history = trained().curves
    assert series(history, "seeds") == [3, 3, 2, 1]
    assert series(history, "value") == pytest.approx([1.4 / 3, 1.9 / 3, 0.775, 0.9], abs=1e-6)
    assert (series(history, "low"), series(history, "high")) == ([0.4, 0.6, 0.75, 0.9], [0.5, 0.7, 0.8, 0.9])
    lacking = trained(validation=[[], *VALIDATION[1:]]).curves
    assert series(lacking, "seeds", "validation") == [2, 2, 2, 1]
    columns = ["dataset", "architecture", "epoch", "split", "metric", "value", "low", "high"]
    for together in (trained(TRAIN[2:], VALIDATION[2:]), trained(2 * TRAIN[2:], 2 * VALIDATION[2:])):
        assert list(together.curves) == columns, "no seeds, as all ended together"


def test_curves_show_how_many_seeds_are_left() -> None:
    def texts(figure: Figure) -> list[str]:
        return [text.get_text() for axis in figure.axes for text in axis.texts]

    assert texts(charts.training_curves(trained().curves, "tiny")) == 4 * ["2 seeds", "1 seed"]
    lacking = texts(charts.before_and_after(None, trained(validation=[[], [], VALIDATION[2]]).curves, "tiny"))
    assert lacking == 2 * ["2 seeds", "1 seed", "1 seed"], "the validation curve is of one seed from the first epoch on"
    assert not texts(charts.training_curves(trained(2 * TRAIN[2:], 2 * VALIDATION[2:]).curves, "tiny"))


def test_the_page_says_that_some_seeds_ended_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for models, is_said in (trained(), True), (trained(2 * TRAIN[2:], 2 * VALIDATION[2:]), False):
        assert ("Some seeds ended earlier than others" in overview(models).page("")) == is_said


def test_dvc_draws_how_many_seeds_are_left(project: Project) -> None:
    long = [[*train, *np.linspace(0.9, 0.99, count)] for train, count in zip(TRAIN, (2, 7, 2), strict=True)]  # 10 > 9
    (project.path / "plots/history/mlp_256.csv").write_text(to_csv(trained(long, long).curves))
    drawn = vega_svg(project, "plots/history/mlp_256.csv")
    assert (drawn.count(">2 seeds<"), drawn.count(">1 seed<")) == (4, 4)
    assert ">3 seeds<" not in drawn
