"""What the models of several seeds give, and the figures of metrics and report: cases worked out by hand."""

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

from .reviews import of_models

LABEL = np.array([0, 1, 1, 2])
PREDICTION = np.array([[0, 1, 2, 2], [0, 2, 2, 1], [1, 2, 0, 1]])  # right: 3, 1 and 0 of 4
ACCURACIES = [(10, 1, 0.5, 0.4), (10, 2, 0.9, 0.7), (11, 1, 0.7, 0.6), (11, 2, 0.8, 0.9), (12, 1, 0.3, 0.1)]
HISTORY = [  # seed 12 ended after its first epoch
    (seed, epoch, split, metric, value)
    for seed, epoch, train, validation in ACCURACIES
    for split, metric, value in (
        ("train", "accuracy", train),
        ("validation", "accuracy", validation),
        ("train", "loss", 10 * train),
    )
]


@pytest.fixture
def models() -> Predictions:
    return replace(of_models(LABEL, PREDICTION, np.ones(4), classes=3), loss=(0.1, 0.2, 0.6), history=HISTORY)


def test_the_row_of_a_seed_has_the_figures_of_its_last_epoch(models: Predictions) -> None:
    assert models.of_seeds.to_dict("list") == {
        "seed": [10, 11, 12],
        "accuracy": [0.75, 0.25, 0.0],
        "errors": [1, 3, 4],
        "loss": [0.1, 0.2, 0.6],
        "train_accuracy": [0.9, 0.8, 0.3],
        "validation_accuracy": [0.7, 0.9, 0.1],
    }
    assert models.gap == pytest.approx((0.2 - 0.1 + 0.2) / 3, abs=1e-6)


def test_metrics_are_means_and_the_spread_of_a_sample(models: Predictions) -> None:
    assert models.metrics(0.5) == {
        "accuracy": pytest.approx(1 / 3),
        "accuracy_sd": pytest.approx(0.3818813),  # of 0.75, 0.25 and 0, with a divisor of 2
        "ensemble": 0.5,
        "errors": pytest.approx(8 / 3),
        "gap": models.gap,
        "loss": pytest.approx(0.3),
        "parameters": 7,
        "dataset": ["tiny digits"],
    }
    one = of_models(np.array([0, 1, 2]), np.array([0, 1, 1]), np.ones(3))
    assert one.metrics(1) == {
        "accuracy": pytest.approx(2 / 3), "errors": 1, "loss": 0.5, "parameters": 7, "dataset": ["tiny digits"]
    }  # fmt: skip
    assert isinstance(one.metrics(1)["errors"], int)


def test_the_most_common_prediction_and_the_best_and_worst_class_are_the_first_of_those_that_tie(models) -> None:
    assert models.most_common.tolist() == [0, 2, 2, 1]
    assert replace(models, prediction=PREDICTION[1:]).most_common.tolist() == [0, 2, 0, 1]
    assert models.accuracy == pytest.approx(1 / 3)
    assert (models.several, of_models(LABEL, LABEL, np.ones(4)).several) == ("3 seeds", "one seed")
    assert (models.best["class"], models.worst["class"]) == (0, 1)  # recalls 2/3, 1/6, 1/3
    alike = of_models(LABEL, LABEL, np.ones(4), classes=3)
    assert (alike.best["class"], alike.worst["class"]) == (0, 0)


def test_an_ensemble_averages_the_probabilities_of_all_classes() -> None:
    sides = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.4, 0.6], [0.9, 0.1]], [[0.4, 0.6], [0.4, 0.6]]], np.float32)
    assert ensemble_accuracy(np.array([0, 0]), sides) == 1, "though most models, and their votes, are wrong"
    assert ensemble_accuracy(np.array([0, 1]), sides) == 0.5


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


TWO = [[10, 1, "train", "loss", 1.0], [11, 1, "train", "loss", 0.5]]
SEEDS = "seeds: expected one or more, sorted, each once"
EACH_LABEL = "prediction, probability: expected one for each label"
CLASSES = "label, prediction: expected 3 classes, found others"
FIGURES = "history: expected each figure once, for the training images too"
OF_SEEDS = "history: expected all seeds, and no others"
DAMAGED = [
    (changed(seeds=[]), SEEDS),
    (changed(seeds=[10, 10]), SEEDS),
    (changed(loss=[0.5]), "loss: expected one for each of the 2 seeds, found 1"),
    (lambda content: content["prediction"][1].pop(), EACH_LABEL),
    (lambda content: content["probability"][0].append(1), EACH_LABEL),
    (changed(label=[0, 1, 3]), CLASSES),
    (changed(prediction=[[0, 1, 2], [0, 1, 3]]), CLASSES),
    (changed(history=[*TWO, TWO[0]]), FIGURES),
    (changed(history=[*TWO, [11, 1, "validation", "accuracy", 1]]), FIGURES),
    (changed(history=TWO[:1]), OF_SEEDS),
]


@pytest.mark.parametrize(("damage", "line"), DAMAGED)
def test_predictions_whose_parts_do_not_fit_are_refused(damage: Callable, line: str, tmp_path: Path) -> None:
    label = np.array([0, 1, 2])
    models = replace(of_models(label, np.array([label, label]), np.ones((2, 3)), classes=3), history=TWO)
    models.write(tmp_path / "cnn.json", 3)
    content = json.loads((tmp_path / "cnn.json").read_text())
    assert Predictions.parse(json.dumps(content).encode(), "cnn", "cnn.json").seeds == (10, 11)
    damage(content)
    with pytest.raises(PipelineError, match=f"^cnn.json: {line}$"):
        Predictions.parse(json.dumps(content).encode(), "cnn", "cnn.json")


def test_predictions_of_other_seeds_or_images_are_refused(tmp_path: Path) -> None:
    of_models(np.arange(3), np.array([np.arange(3)] * 2), np.ones((2, 3)), classes=3).write(tmp_path / "cnn.json", 3)
    for seeds, label, line in (
        ([10], [0, 1, 2], r"expected the seeds \[10\], found \[10, 11\]"),
        ([10, 11], [0, 1, 1], "expected predictions for the 3 test images, found others"),
    ):
        with pytest.raises(PipelineError, match=line):
            Predictions.read(tmp_path / "cnn.json", "cnn", seeds, np.array(label))


COUNTS = tables.confusion(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2]), classes=range(4))


def test_confusion_has_labels_as_rows_and_every_class_and_shares_of_the_label() -> None:
    assert COUNTS.to_numpy().tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
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


def test_errors_of_most_seeds_come_first_with_the_wrong_prediction_that_most_give() -> None:
    label = np.array([0, 0, 0, 0, 0, 0])
    prediction = np.array([[0, 3, 2, 1, 1, 2], [0, 3, 0, 4, 2, 1], [0, 5, 0, 1, 0, 0]])
    probability = np.array([[1, 0.5, 0.99, 0.6, 0.5, 0.9], [1, 0.6, 1, 0.9, 0.9, 0.9], [1, 0.9, 1, 0.8, 1, 1]])
    probability[1, 1] = 0.5666666
    table = tables.errors(label, prediction, probability)
    assert list(table) == ["index", "label", "prediction", "seeds", "probability"]
    assert table.to_numpy().tolist() == [
        [3, 0, 1, 3, 0.7],
        [1, 0, 3, 3, 0.533333],
        [4, 0, 2, 2, 0.9],  # of two predictions that one seed each gives, the more probable
        [5, 0, 1, 2, 0.9],  # of two that are as probable, the smaller
        [2, 0, 2, 1, 0.99],
    ]
