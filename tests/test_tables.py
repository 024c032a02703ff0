"""Checks the figures of metrics and report on cases small enough to work out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.results import tables
from stages.results.predictions import Predictions, ensemble_accuracy

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


def test_errors_of_most_seeds_come_first_with_the_wrong_prediction_that_most_give() -> None:
    label = np.array([0, 0, 0, 0])
    prediction = np.array([[0, 3, 2, 1], [0, 3, 0, 4], [0, 5, 0, 1]])
    probability = np.array([[1, 0.5, 0.99, 0.6], [1, 0.7, 1, 0.9], [1, 0.9, 1, 0.8]])
    assert tables.errors(label, prediction, probability).to_numpy().tolist() == [
        [3, 0, 1, 3, 0.7],
        [1, 0, 3, 3, 0.6],
        [2, 0, 2, 1, 0.99],
    ]


def test_predictions_are_read_as_they_were_written_with_rounded_probabilities(tmp_path: Path) -> None:
    label, prediction, probability = np.array([0, 1, 1]), np.array([[0, 1, 2], [0, 2, 1]]), np.array([1 / 3, 2 / 3, 1])
    models = of_models(label, prediction, probability, "cnn", classes=3)
    models.write(tmp_path / "cnn.json", 3)
    read = Predictions.read(tmp_path / "cnn.json", "cnn", [11, 10], label)
    assert read.probability.tolist() == [[0.333, 0.667, 1]] * 2
    columns = vars(models).keys() - {"probability"}
    assert {key: np.array(getattr(read, key)).tolist() for key in columns} == {
        key: np.array(getattr(models, key)).tolist() for key in columns
    }


def test_the_figures_of_several_models_are_means_and_their_spread() -> None:
    label, prediction = np.array([0, 1, 1, 2]), np.array([[0, 1, 1, 2], [0, 1, 2, 2], [1, 1, 2, 2]])
    models = replace(of_models(label, prediction, np.ones(4)), loss=(0.1, 0.2, 0.6))
    assert models.metrics(0.75) == {
        "accuracy": 0.75,
        "accuracy_sd": 0.25,
        "ensemble": 0.75,
        "errors": 1.0,
        "loss": pytest.approx(0.3),
        "parameters": 7,
        "dataset": ["tiny digits"],
    }


def test_one_model_has_no_spread_and_is_no_ensemble() -> None:
    models = of_models(np.array([0, 1, 2]), np.array([0, 1, 1]), np.ones(3))
    assert list(models.metrics(1)) == ["accuracy", "errors", "loss", "parameters", "dataset"]
    assert models.metrics(1)["errors"] == 1


def test_an_ensemble_averages_the_probabilities_of_all_classes() -> None:
    sides = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.4, 0.6], [0.9, 0.1]], [[0.4, 0.6], [0.4, 0.6]]], np.float32)
    assert ensemble_accuracy(np.array([0, 0]), sides) == 1, "though most models, and their votes, are wrong"
