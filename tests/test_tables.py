"""Checks the figures of metrics and report on cases small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

from stages.common import tables
from stages.evaluate import overfitting, prediction_columns, rounded, score
from tools.common.comparison import comparison_table

PREDICTIONS = pd.DataFrame(
    {"label": [0, 0, 0, 1, 1, 2], "prediction": [0, 1, 1, 1, 0, 2], "probability": [0.9, 0.8, 0.6, 0.7, 0.8, 1.0]}
)
COUNTS = tables.confusion(PREDICTIONS, classes=4)


def test_confusion_has_labels_as_rows_and_every_class() -> None:
    assert COUNTS.to_numpy().tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_normalised_rows_are_shares_of_the_label() -> None:
    shares = tables.normalised(COUNTS).to_numpy()
    np.testing.assert_allclose(shares[:3], [[1 / 3, 2 / 3, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
    assert shares[3].tolist() == [0, 0, 0, 0], "a class without test images"


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
    assert figures["recall"].tolist() == [0.333333, 0.5, 1.0, 0.0], "a class without test images"
    assert figures["precision"].tolist() == [0.5, 0.333333, 1.0, 0.0], "a class that is never predicted"


def test_errors_name_the_test_index() -> None:
    wrong = tables.errors(PREDICTIONS)
    assert wrong.to_numpy().tolist() == [[1, 0, 1, 0.8], [2, 0, 1, 0.6], [4, 1, 0, 0.8]]
    assert tables.most_confident(wrong, 2)["index"].tolist() == [1, 4], "ties go by index"


def test_compare_orders_by_accuracy_then_name_whatever_the_order_of_params() -> None:
    figures = {"dataset": "d", "loss": 0.1, "parameters": 5}
    metrics = {
        "b": figures | {"accuracy": 0.9, "errors": 10},
        "c": figures | {"accuracy": 0.95, "errors": 5, "train_validation_gap": 0.02},
        "a": figures | {"accuracy": 0.9, "errors": 10},
    }
    table = comparison_table(metrics, 100, 0.95, published={"a": 0.99, "b": 0.9, "c": 0.5})
    assert table["architecture"].tolist() == ["c", "a", "b"]
    assert table["published_is"].tolist() == ["below", "above", "inside"]
    assert (table["low"] < table["accuracy"]).all()
    assert (table["accuracy"] < table["high"]).all()
    pd.testing.assert_frame_equal(
        table, comparison_table(dict(reversed(metrics.items())), 100, 0.95, published={"a": 0.99, "b": 0.9, "c": 0.5})
    )


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.6, 0.2, 0.2]], np.float32)
LABELS = np.array([0, 1, 1, 2])


def test_score() -> None:
    figures = score(LABELS, PROBABILITIES)
    assert (figures["accuracy"], figures["errors"]) == (0.5, 2)
    assert figures["loss"] == pytest.approx(-np.log([0.7, 0.8, 0.4, 0.2]).mean(), rel=1e-5)


def test_prediction_columns_hold_every_image_and_the_confusion_counts() -> None:
    columns = prediction_columns("d", LABELS, PROBABILITIES)
    assert columns["label"] == [0, 1, 1, 2]
    assert columns["prediction"] == [0, 1, 0, 0]
    assert columns["probability"] == pytest.approx([0.7, 0.8, 0.5, 0.6])
    assert {"dataset": "d", "label": 2, "prediction": 0, "images": 1} in columns["confusion"]
    assert sum(row["images"] for row in columns["confusion"]) == 4


def history(splits: list[str]) -> pd.DataFrame:
    rows = [
        (epoch, split, metric, value + epoch / 100)
        for epoch in (1, 2)
        for split, value in zip(splits, (0.9, 0.8), strict=False)
        for metric in ("accuracy", "loss")
    ]
    return pd.DataFrame(rows, columns=["epoch", "split", "metric", "value"])


def test_overfitting_is_the_gap_after_the_last_epoch() -> None:
    figures = rounded(overfitting(history(["train", "validation"])), 6)
    assert figures == {"train_accuracy": 0.92, "validation_accuracy": 0.82, "train_validation_gap": 0.1}
    assert overfitting(history(["train"])) == {}


def test_rounded_reaches_every_float() -> None:
    assert rounded({"a": [0.123456, {"b": 1 / 3}], "c": 2, "d": "x"}, 3) == {
        "a": [0.123, {"b": 0.333}],
        "c": 2,
        "d": "x",
    }
