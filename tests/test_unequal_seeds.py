"""Figures over seeds of which some ended earlier than others, or lack a figure that others have."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from stages.results.evaluation import HISTORY, Evaluation

from stages.data.archive import Description
from stages.report import Findings
from tools.common import charts, results
from tools.common.changes import Change
from tools.common.comparison import tables
from tools.common.revision import Revision
from tools.common.statistics import difference
from tools.review import sections
from tools.review.sections import Training
from tools.sweep.search import Finalist
from tools.sweep.training import Training as FinishedTraining

from .conftest import Project
from .reviews import of_models
from .test_pipeline import vega_svg

LABEL = np.array([0, 1, 1, 0])
TRAIN, VALIDATION = [[0.5, 0.6], [0.5, 0.7, 0.8, 0.9], [0.4, 0.6, 0.75]], [[0.4, 0.5], [0.5, 0.6, 0.5, 0.6], [0.5] * 3]


def trained(train: list[float], validation: list[float]) -> Evaluation:
    """An evaluation after a training with these accuracies; of the loss, it is the same."""
    rows = [
        (epoch, split, metric, value)
        for split, values in (("train", train), ("validation", validation))
        for metric in ("accuracy", "loss")
        for epoch, value in enumerate(values, start=1)
    ]
    return Evaluation.of("tiny", LABEL, np.eye(2)[LABEL], loss=0.1, parameters=5, history=rows)


def findings(train: list[list[float]] = TRAIN, validation: list[list[float]] = VALIDATION) -> Findings:
    return Findings("net", 2, [trained(*each) for each in zip(train, validation, strict=True)])


def series(history: pd.DataFrame, column: str, split: str = "train") -> list[float]:
    return history[(history["split"] == split) & (history["metric"] == "accuracy")][column].tolist()


def test_accuracies_and_gap_are_means_of_each_seeds_own_last_epoch() -> None:
    metrics = findings().metrics()
    assert metrics["train_accuracy"] == pytest.approx((0.6 + 0.9 + 0.75) / 3)
    assert metrics["validation_accuracy"] == pytest.approx((0.5 + 0.6 + 0.5) / 3, abs=1e-6)
    assert metrics["train_validation_gap"] == pytest.approx((0.1 + 0.3 + 0.25) / 3, abs=1e-6)


@pytest.mark.parametrize(
    "validation",
    [[[0.4, 0.5], [], [0.5] * 3], [[], [], []], [[0.4, 0.5], [0.5, 0.6, 0.5, 0.6], [0.5, 0.5]]],
    ids=["one seed has none", "none", "one seed has none of its last epoch"],
)
def test_there_is_no_gap_where_a_seed_has_no_validation(validation: list[list[float]]) -> None:
    metrics = findings(validation=validation).metrics()
    assert not {"train_accuracy", "validation_accuracy", "train_validation_gap"} & set(metrics)
    assert metrics["accuracy"] == 1


def test_a_history_counts_the_seeds_of_each_epoch() -> None:
    history = findings().history
    assert series(history, "seeds") == [3, 3, 2, 1]
    assert series(history, "value") == pytest.approx([1.4 / 3, 1.9 / 3, 0.775, 0.9], abs=1e-6)
    assert (series(history, "low"), series(history, "high")) == ([0.4, 0.6, 0.75, 0.9], [0.5, 0.7, 0.8, 0.9])
    lacking = findings(validation=[[], *VALIDATION[1:]]).history
    assert series(lacking, "seeds", "validation") == [2, 2, 2, 1]


def test_a_history_has_no_such_column_where_all_seeds_ended_together() -> None:
    columns = ["dataset", "architecture", "epoch", "split", "metric", "value", "low", "high"]
    for together in (findings(TRAIN[2:], VALIDATION[2:]), findings(2 * TRAIN[2:], 2 * VALIDATION[2:])):
        assert list(together.history) == columns


def csv(found: Findings) -> str:
    return found.history.to_csv(index=False, lineterminator="\n")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_curves_say_how_many_seeds_are_left() -> None:
    history = pd.read_csv(io.StringIO(csv(findings())))
    assert texts(charts.training_curves(history, "tiny")) == 4 * ["2 seeds", "1 seed"]
    lacking = findings(validation=[[], [], VALIDATION[2]]).history
    found = texts(charts.before_and_after(None, lacking, "tiny"))
    assert found == 2 * ["2 seeds", "1 seed", "1 seed"], "the validation curve is of one seed from the first epoch on"
    assert not texts(charts.training_curves(findings(2 * TRAIN[2:], 2 * VALIDATION[2:]).history, "tiny"))


@pytest.fixture
def side(tmp_path: Path) -> Revision:
    """A folder with results of `net`, whose three seeds ended apart, and of `even`."""
    even = Findings("even", 2, [trained([0.5], [0.5])] * 3)
    for each in (findings(), even):
        for seed, model in enumerate(each.models, start=10):
            model.write(tmp_path / results.evaluation(each.name, seed), 6)
        for path, text in (
            (results.metrics(each.name), json.dumps(each.metrics())),
            (results.history(each.name), csv(each)),
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    content = {"train": {"seeds": [10, 11, 12]}, "architectures": {"net": {}, "even": {}}}
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    return Revision("a folder", None, tmp_path)


def test_the_table_of_all_trainings_counts_the_seeds_of_each_row(side: Revision) -> None:
    description = Description("tiny", [], "", 2, {})
    training = tables(side, description, ["net", "even"], {"confidence": 0.95})[results.TRAINING]
    read = pd.read_csv(io.StringIO(training.to_csv(index=False)))
    assert series(read[read["architecture"] == "net"], "seeds") == [3, 3, 2, 1]
    assert series(read[read["architecture"] == "even"], "seeds") == [3]
    assert ",3\n" in training.to_csv(index=False), "whole numbers"
    even = tables(side, description, ["even"], {"confidence": 0.95})[results.TRAINING]
    assert "seeds" not in even


def test_a_review_draws_how_many_seeds_are_left(side: Revision) -> None:
    found = [Training.read(side, name).history for name in ("net", "even")]
    assert texts(charts.before_and_after(*found, "tiny")) == 4 * ["2 seeds", "1 seed"]


@pytest.mark.parametrize(("seeds", "shown"), [("many", None), ("2.5", None), ("1e99", None), ("", 4 * ["2 seeds"])])
def test_a_review_leaves_out_what_is_damaged(side: Revision, seeds: str, shown: list[str] | None) -> None:
    path = side.folder / results.history("net")
    path.write_text(path.read_text().replace(",1\n", f",{seeds}\n"))
    found = Training.read(side, "net").history
    assert shown is None if found is None else texts(charts.before_and_after(None, found, "tiny")) == shown


def test_dvc_draws_how_many_seeds_are_left(project: Project) -> None:
    long = [[*each, *np.linspace(0.9, 0.99, count)] for each, count in zip(TRAIN, (2, 7, 2), strict=True)]  # 10 > 9
    (project.path / "plots/history/mlp_256.csv").write_text(csv(findings(long, long)))
    drawn = vega_svg(project, "plots/history/mlp_256.csv")
    assert (drawn.count(">2 seeds<"), drawn.count(">1 seed<")) == (4, 4)
    assert ">3 seeds<" not in drawn


def test_a_finalist_of_a_sweep_has_the_mean_of_each_seeds_own_last_epoch(tmp_path: Path) -> None:
    accuracies = []
    for seed, (train, validation) in enumerate(zip(TRAIN, VALIDATION, strict=True)):
        (tmp_path / f"{seed}").mkdir()
        rows = sorted(trained(train, validation).history, key=lambda row: (row[1], row[2], row[0]))
        pd.DataFrame(rows, columns=list(HISTORY)).to_csv(tmp_path / f"{seed}/history.csv", index=False)
        accuracies.append(FinishedTraining(tmp_path / f"{seed}", "net", seed, "").run(None, None))
    assert Finalist(0, {}, accuracies).mean == pytest.approx((0.5 + 0.6 + 0.5) / 3)


@pytest.mark.parametrize(
    ("seeds", "expected"), [((1, 3), "1 of 1 → 1 of 3"), ((2, 2), "2 → 0"), ((3, 1), "3 of 3 → 0 of 1")]
)
def test_a_digit_counts_its_wrong_seeds_of_those_that_each_side_has(seeds: tuple[int, int], expected: str) -> None:
    wrong, right = np.array([1, 1, 1, 0]), LABEL
    after = np.stack([wrong, *[right] * (seeds[1] - 1)]) if seeds == (1, 3) else np.stack([right] * seeds[1])
    base, head = of_models(LABEL, np.stack([wrong] * seeds[0]), np.ones(4)), of_models(LABEL, after, np.ones(4))
    change = Change("net", base, head, difference=difference(base.right, head.right))
    (digit,) = sections._digits(change, change.fixed, base, {})
    assert (digit.index, digit.seeds_wrong) == (0, expected)
