"""Checks the figures of metrics and report on cases small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

from stages.results import tables

PREDICTIONS = pd.DataFrame(
    {"label": [0, 0, 0, 1, 1, 2], "prediction": [0, 1, 1, 1, 0, 2], "probability": [0.9, 0.8, 0.6, 0.7, 0.8, 1.0]}
)
COUNTS = tables.confusion(PREDICTIONS["label"].to_numpy(), PREDICTIONS["prediction"].to_numpy(), classes=range(4))


def test_confusion_has_labels_as_rows_and_every_class() -> None:
    assert COUNTS.to_numpy().tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_normalised_rows_are_shares_of_the_label() -> None:
    shares = tables.normalised(COUNTS).to_numpy()
    np.testing.assert_allclose(shares[:3], [[1 / 3, 2 / 3, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
    assert np.isnan(shares[3]).all(), "a class without test images"


def test_confused_pairs_come_most_first_then_by_label_and_prediction() -> None:
    counts = pd.DataFrame([[5, 1, 1], [1, 5, 2], [1, 0, 5]])
    assert tables.confused_pairs(counts, limit=4).to_dict("list") == {
        "label": [1, 0, 0, 1],
        "prediction": [2, 1, 2, 0],
        "count": [2, 1, 1, 1],
        "share": [0.25, 0.142857, 0.142857, 0.125],
    }
    assert tables.confused_pairs(counts, limit=1).to_dict("list") == {
        "label": [1], "prediction": [2], "count": [2], "share": [0.25]
    }  # fmt: skip


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


def test_errors_of_most_seeds_come_first_with_the_wrong_prediction_that_most_give() -> None:
    label = np.array([0, 0, 0, 0, 0, 0])
    prediction = np.array([[0, 3, 2, 1, 1, 2], [0, 3, 0, 4, 2, 1], [0, 5, 0, 1, 0, 0]])
    probability = np.array([[1, 0.5, 0.99, 0.6, 0.5, 0.7], [1, 0.6, 1, 0.9, 0.9, 0.7], [1, 0.9, 1, 0.8, 1, 1]])
    probability[1, 1] = 0.5666666
    table = tables.errors(label, prediction, probability)
    assert list(table) == ["index", "label", "prediction", "seeds", "probability"]
    assert table.to_numpy().tolist() == [
        [3, 0, 1, 3, 0.7],
        [1, 0, 3, 3, 0.533333],
        [4, 0, 2, 2, 0.9],  # of two predictions that one seed each gives, the more probable
        [5, 0, 1, 2, 0.7],  # of two that are as probable, the smaller
        [2, 0, 2, 1, 0.99],
    ]
