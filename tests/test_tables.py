"""Checks the figures of metrics and report on cases small enough to work out by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.results import tables
from stages.results.predictions import Predictions, ensemble_accuracy
from stages.support.errors import PipelineError
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


def test_compare_orders_by_accuracy_then_name_whatever_the_order_of_params() -> None:
    figures = {"dataset": ("d",), "loss": 0.1, "parameters": 5}
    metrics = {
        "b": Metrics(**figures, accuracy=0.9, errors=10),
        "c": Metrics(**figures, accuracy=0.95, errors=5, gap=0.02),
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


def changed(**columns: object) -> Callable[[dict], object]:
    return lambda content: content.update(columns)


HISTORY = [[10, 1, "train", "loss", 1.0], [11, 1, "train", "loss", 0.5]]
DAMAGED = {
    "no seeds": (changed(seeds=[]), "seeds: expected one or more, sorted, each once"),
    "seeds in another order": (changed(seeds=[11, 10]), "seeds: expected one or more, sorted, each once"),
    "a seed twice": (changed(seeds=[10, 10]), "seeds: expected one or more, sorted, each once"),
    "a loss too few": (changed(loss=[0.5]), "loss: expected one for each of the 2 seeds, found 1"),
    "predictions of one seed": (
        lambda content: content["prediction"].pop(),
        "prediction: expected one for each of the 2 seeds, found 1",
    ),
    "no images": (
        changed(label=[], prediction=[[], []], probability=[[], []]),
        "prediction, probability: expected one for each label",
    ),
    "a prediction too few": (
        lambda content: content["prediction"][1].pop(),
        "prediction, probability: expected one for each label",
    ),
    "a probability too many": (
        lambda content: content["probability"][0].append(1),
        "prediction, probability: expected one for each label",
    ),
    "a label that is no class": (changed(label=[0, 1, 3]), "label, prediction: expected 3 classes, found others"),
    "a prediction that is no class": (
        changed(prediction=[[0, 1, 2], [0, 1, 3]]),
        "label, prediction: expected 3 classes, found others",
    ),
    "a figure twice": (
        changed(history=[*HISTORY, HISTORY[0]]),
        "history: expected each figure once, for the training images too",
    ),
    "validation without training": (
        changed(history=[*HISTORY, [11, 2, "validation", "loss", 1]]),
        "history: expected each figure once, for the training images too",
    ),
    "another metric of the training": (
        changed(history=[*HISTORY, [11, 1, "validation", "accuracy", 1]]),
        "history: expected each figure once, for the training images too",
    ),
    "a seed without history": (changed(history=HISTORY[:1]), "history: expected all seeds, and no others"),
    "history of another seed": (
        changed(history=[*HISTORY, [12, 1, "train", "loss", 1]]),
        "history: expected all seeds, and no others",
    ),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGED.values(), ids=DAMAGED)
def test_predictions_whose_parts_do_not_fit_are_refused(damage: Callable, line: str, tmp_path: Path) -> None:
    label = np.array([0, 1, 2])
    models = replace(of_models(label, np.array([label, label]), np.ones((2, 3)), classes=3), history=HISTORY)
    models.write(tmp_path / "cnn.json", 3)
    content = json.loads((tmp_path / "cnn.json").read_text())
    assert Predictions.parse(json.dumps(content).encode(), "cnn", "cnn.json").seeds == (10, 11)
    damage(content)
    with pytest.raises(PipelineError, match=f"^cnn.json: {line}$"):
        Predictions.parse(json.dumps(content).encode(), "cnn", "cnn.json")


@pytest.mark.parametrize(
    ("seeds", "label", "line"),
    [
        ([10], [0, 1, 2], r"expected the seeds \[10\], found \[10, 11\]"),
        ([10, 11], [0, 1, 1], "expected predictions for the 3 test images, found others"),
    ],
)
def test_predictions_of_other_seeds_or_images_are_refused(seeds: list, label: list, line: str, tmp_path: Path) -> None:
    of_models(np.arange(3), np.array([np.arange(3)] * 2), np.ones((2, 3)), classes=3).write(tmp_path / "cnn.json", 3)
    with pytest.raises(PipelineError, match=line):
        Predictions.read(tmp_path / "cnn.json", "cnn", seeds, np.array(label))


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
