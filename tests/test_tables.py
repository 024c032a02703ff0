"""Checks the figures of metrics and report on cases small enough to work out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stages.results.evaluation import Evaluation, read_evaluation

from stages.report import overfitting
from stages.results import tables
from tools.common.comparison import Metrics, comparison_table

from .reviews import of_models

PREDICTIONS = pd.DataFrame(
    {"label": [0, 0, 0, 1, 1, 2], "prediction": [0, 1, 1, 1, 0, 2], "probability": [0.9, 0.8, 0.6, 0.7, 0.8, 1.0]}
)
COUNTS = tables.confusion(PREDICTIONS["label"].to_numpy(), PREDICTIONS["prediction"].to_numpy(), classes=4)


def test_confusion_has_labels_as_rows_and_every_class() -> None:
    assert COUNTS.to_numpy().tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_normalised_rows_are_shares_of_the_label() -> None:
    shares = tables.normalised(COUNTS).to_numpy()
    np.testing.assert_allclose(shares[:3], [[1 / 3, 2 / 3, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
    assert np.isnan(shares[3]).all(), "a class without test images"


def test_confused_pairs_come_most_first() -> None:
    pairs = tables.confused_pairs(COUNTS, limit=5)
    assert pairs[["label", "prediction", "count"]].to_numpy().tolist() == [[0, 1, 2], [1, 0, 1]]
    assert pairs["share"].tolist() == [0.666667, 0.5]
    assert len(tables.confused_pairs(COUNTS, limit=1)) == 1


def test_recall_and_precision_of_each_class() -> None:
    figures = tables.class_figures(COUNTS)
    assert figures["class"].tolist() == [0, 1, 2, 3]
    assert figures["images"].tolist() == [3, 2, 1, 0]
    assert figures["errors"].tolist() == [2, 1, 0, 0]
    nothing = pytest.approx(float("nan"), nan_ok=True)
    assert figures["recall"].tolist() == [0.333333, 0.5, 1.0, nothing], "a class without test images"
    assert figures["precision"].tolist() == [0.5, 0.333333, 1.0, nothing], "a class that is never predicted"


def test_errors_name_the_test_index() -> None:
    label, prediction, probability = (PREDICTIONS[key].to_numpy() for key in ("label", "prediction", "probability"))
    wrong = tables.errors(label, prediction[np.newaxis], probability[np.newaxis])
    assert wrong.drop(columns="seeds").to_numpy().tolist() == [[1, 0, 1, 0.8], [4, 1, 0, 0.8], [2, 0, 1, 0.6]]
    assert set(wrong["seeds"]) == {1}


def test_compare_orders_by_accuracy_then_name_whatever_the_order_of_params() -> None:
    figures = {"dataset": "d", "loss": 0.1, "parameters": 5}
    metrics = {
        "b": Metrics(**figures, accuracy=0.9, errors=10),
        "c": Metrics(**figures, accuracy=0.95, errors=5, train_validation_gap=0.02),
        "a": Metrics(**figures, accuracy=0.9, errors=10),
    }
    predictions = {
        name: of_models(np.zeros(100, int), np.arange(100) < found.errors, np.ones(100))
        for name, found in metrics.items()
    }
    published = {"a": 0.99, "b": 0.9, "c": 0.5}
    table = comparison_table(metrics, predictions, 0.95, published)
    assert table["architecture"].tolist() == ["c", "a", "b"]
    assert table["published_is"].tolist() == ["below", "above", "inside"]
    assert (table["low"] < table["accuracy"]).all()
    assert (table["accuracy"] < table["high"]).all()
    reverse = dict(reversed(metrics.items()))
    pd.testing.assert_frame_equal(table, comparison_table(reverse, predictions, 0.95, published))


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.6, 0.2, 0.2]], np.float32)
LABELS = np.array([0, 1, 1, 2])


def test_an_evaluation_keeps_every_image_and_what_it_was_written_as(tmp_path: Path) -> None:
    evaluation = Evaluation.of(
        "d", LABELS, PROBABILITIES, loss=1 / 3, parameters=5, history=[(1, "train", "loss", 0.5)]
    )
    assert evaluation.accuracy == 0.5
    assert evaluation.prediction.tolist() == [0, 1, 0, 0]
    evaluation.write(tmp_path / "10.json", 3)
    read = read_evaluation(tmp_path / "10.json", "evaluate@d-10", 3, LABELS)
    assert read.probabilities(3) == pytest.approx(PROBABILITIES, abs=1e-3)
    assert (read.label.tolist(), read.loss, read.parameters) == ([0, 1, 1, 2], 0.333, 5)
    assert read.history == [(1, "train", "loss", 0.5)]


def history(splits: list[str]) -> list[tuple[int, str, str, float]]:
    return [
        (epoch, split, metric, value + epoch / 100)
        for epoch in (1, 2)
        for split, value in zip(splits, (0.9, 0.8), strict=False)
        for metric in ("accuracy", "loss")
    ]


def test_overfitting_is_the_gap_after_the_last_epoch() -> None:
    figures = overfitting([history(["train", "validation"])])
    assert list(figures) == ["train_accuracy", "validation_accuracy", "train_validation_gap"]
    assert list(figures.values()) == pytest.approx([0.92, 0.82, 0.1])
    assert overfitting([history(["train"])]) == {}
