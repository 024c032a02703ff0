"""The training loop: Keras's own `fit`, in few calls, with the optimizer's update as one operation."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.checkpoint import Checkpoint
from stages.models.models import import_keras
from stages.models.training import Row, batches, fit_model, no_longer_improves
from stages.support.architecture import Architecture, EarlyStopping
from stages.support.errors import PipelineError

DATASET = Dataset("tiny", 3, (4, 4, 1), count=50)
LAYERS = ["Flatten", {"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 3, "activation": "softmax"}}]


def ignore(*_: object) -> None:
    """Shows no progress."""


ADAM = {"learning_rate": 0.05, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.25}


@pytest.mark.parametrize(
    ("split", "weights", "steps_at_once", "optimizer"),  # of 7 or 5 steps: the last call has fewer
    [
        (0, None, 3, {}),
        (0.2, None, 100, ADAM),
        (0.2, {0: 5.0, 2: 0.0}, 100, {"weight_decay": 0.5}),
        (0, {1: 0.5}, 3, ADAM | {"amsgrad": True}),
        (0.2, {}, 100, {"clipnorm": 0.001, "gradient_accumulation_steps": 2}),
        (0, None, 100, {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.01}}}),
    ],
)
def test_it_trains_as_keras_alone(
    split: float,
    weights: dict | None,
    steps_at_once: int,
    optimizer: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_keras()
    import tensorflow as tf

    monkeypatch.setattr("stages.models.training.STEPS_AT_ONCE", steps_at_once)
    random = np.random.default_rng(0)
    images = random.random((50, 4, 4, 1), np.float32)
    labels = np.eye(3, dtype=np.float32)[random.integers(3, size=50)]
    # the last batch of an epoch is smaller
    fit = {"epochs": 3, "batch_size": 8, "validation_split": split, "class_weight": weights}
    content = {"layers": LAYERS, "fit": fit, "compile": {"optimizer": {"Adam": optimizer}}}
    architecture = Architecture.model_validate(content)
    weight_of = {label: (weights or {}).get(label, 1) for label in range(3)}  # Keras alone needs each class
    ours, theirs = (build_model("tiny", architecture, DATASET) for _ in range(2))
    theirs.set_weights(ours.get_weights())

    history = fit_model(ours, images, labels, architecture.fit, 10, Checkpoint(tmp_path / "kept.npz", ""), ignore)
    is_fused = "update_step" in vars(ours.optimizer)
    assert is_fused != optimizer.get("amsgrad", False), "Keras's Adam has changed; see stages.models.models.fuse_update"
    train = round(50 * (1 - split))
    logs = defaultdict(list)
    for epoch in range(3):
        order = batches(images[:train], labels[:train], architecture.fit, 10, tf.Variable(epoch, dtype=tf.int64))
        validation = (images[train:], labels[train:]) if split else None
        epoch_logs = theirs.fit(order, validation_data=validation, class_weight=weight_of, shuffle=False, verbose=0)
        for key, values in epoch_logs.history.items():
            logs[key] += values

    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-6)
    recorded = defaultdict(list)
    for _, where, metric, value in history:
        recorded[where, metric].append(float(value))
    for (where, metric), values in recorded.items():
        key = metric if where == "train" else f"val_{metric}"
        assert values == pytest.approx(logs[key], abs=1e-5)
    assert len(recorded) == len(logs)


def test_it_trains_without_keras_private_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.models.models.PRIVATE_TO_ADAM", ("no longer there",))
    images, labels = np.ones((8, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.zeros(8, int)]
    architecture = Architecture.model_validate({"layers": LAYERS, "fit": {"epochs": 2, "batch_size": 4}})
    model = build_model("tiny", architecture, DATASET)
    history = fit_model(model, images, labels, architecture.fit, 10, Checkpoint(tmp_path / "kept.npz", ""), ignore)
    assert "update_step" not in vars(model.optimizer)
    assert [row[:3] for row in history] == [(n, "train", m) for m in ("accuracy", "loss") for n in (1, 2)]


@pytest.mark.parametrize(
    ("seed", "epoch", "order"),  # as TensorFlow 2.21 gave it, on any machine; another order would be another training
    [
        (10, 0, [[6, 1, 0], [7, 5, 4], [2, 3]]),
        (10, 1, [[3, 4, 5], [7, 0, 2], [1, 6]]),
        (11, 0, [[6, 5, 4], [2, 1, 7], [3, 0]]),
    ],
)
def test_the_seed_and_the_epoch_decide_the_order_of_the_images(seed: int, epoch: int, order: list) -> None:
    import_keras()
    import tensorflow as tf

    numbers = np.arange(8, dtype=np.float32)
    fit = Architecture.model_validate({"layers": LAYERS, "fit": {"epochs": 1, "batch_size": 3}}).fit
    given = list(batches(numbers.reshape(8, 1, 1, 1), np.eye(8), fit, seed, tf.Variable(epoch, dtype=tf.int64)))
    assert [images.numpy().ravel().tolist() for images, _ in given] == order
    assert [labels.numpy().argmax(axis=1).tolist() for _, labels in given] == order


def test_each_epoch_is_reported_and_those_of_a_cut_training_at_once(tmp_path: Path) -> None:
    images, labels = np.ones((8, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.zeros(8, int)]
    reported = []
    for epochs in (2, 4):
        fit = {"epochs": epochs, "batch_size": 4, "validation_split": 0.5}
        architecture = Architecture.model_validate({"layers": LAYERS, "fit": fit})
        model = build_model("tiny", architecture, DATASET)
        checkpoint = Checkpoint(tmp_path / "kept.npz", "")
        fit_model(model, images, labels, architecture.fit, 10, checkpoint, lambda *args: reported.append(args))
    assert [(epoch, sorted(logs)) for epoch, logs in reported] == [
        (epoch, [] if resumed else ["accuracy", "loss", "val_accuracy", "val_loss"])
        for epoch, resumed in ((1, False), (2, False), (2, True), (3, False), (4, False))
    ]


def test_a_training_that_diverges_ends_with_its_epoch_and_saves_nothing(tmp_path: Path) -> None:
    images, labels = np.ones((8, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    optimizer = {"SGD": {"learning_rate": 3e38}}
    content = {"layers": LAYERS, "fit": {"epochs": 3, "batch_size": 4}, "compile": {"optimizer": optimizer}}
    architecture = Architecture.model_validate(content)
    model, checkpoint = build_model("tiny", architecture, DATASET), Checkpoint(tmp_path / "kept.npz", "")
    line = "params.yaml: architectures.tiny: expected a finite loss, found (nan|inf) after epoch 1 of 3; try a smaller"
    with pytest.raises(PipelineError, match=line):
        fit_model(model, images, labels, architecture.fit, 10, checkpoint, ignore)
    assert not list(tmp_path.iterdir())


def history(*values: float, metric: str = "loss", split: str = "validation") -> list[Row]:
    return [(epoch, split, metric, f"{value:.6f}") for epoch, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("stopping", "rows", "ends"),
    [
        ({"patience": 1}, history(3, 2, 1), False),
        ({"patience": 1}, history(3, 2, 2), True),
        ({"patience": 2}, history(3, 2, 2), False),
        ({"patience": 2}, history(3, 2, 2.5, 2.1), True),
        ({"patience": 2}, history(3, 2, 2.5, 1.9), False),
        ({"patience": 2, "min_delta": 0.2}, history(3, 2, 2.5, 1.9), True),
        ({"patience": 1, "monitor": "val_accuracy"}, history(0.8, 0.9, metric="accuracy"), False),
        ({"patience": 1, "monitor": "val_accuracy"}, history(0.9, 0.8, metric="accuracy"), True),
        ({"patience": 1}, history(3, 2, 2, split="train"), False),
        ({"patience": 1, "monitor": "loss"}, history(3, 2, 2, split="train"), True),
        ({"patience": 1}, [], False),
    ],
)
def test_a_training_ends_early_where_it_no_longer_improves(stopping: dict, rows: list[Row], ends: bool) -> None:
    assert no_longer_improves(rows, EarlyStopping.model_validate(stopping)) == ends
    assert not no_longer_improves(rows, None)


def test_an_early_end_is_in_the_history_and_after_a_cut_too(tmp_path: Path) -> None:
    images, labels = np.ones((20, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.zeros(20, int)]
    fit = {"epochs": 9, "batch_size": 4, "validation_split": 0.5, "early_stopping": {"patience": 2, "min_delta": 5}}
    architecture = Architecture.model_validate({"layers": LAYERS, "fit": fit})
    checkpoint = Checkpoint(tmp_path / "kept.npz", "")
    trained = []
    for _ in range(2):  # the second time, all epochs are in the checkpoint
        model = build_model("tiny", architecture, DATASET)
        rows = fit_model(model, images, labels, architecture.fit, 10, checkpoint, ignore)
        assert {epoch for epoch, *_ in rows} == {1, 2, 3}
        trained.append(model.get_weights())
    for first, second in zip(*trained, strict=True):
        np.testing.assert_array_equal(first, second)


def test_averaged_weights_are_kept_after_a_cut_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, labels = random.random((20, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    optimizer = {"Adam": {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.9}}
    content = {"layers": LAYERS, "fit": {"epochs": 2, "batch_size": 4}, "compile": {"optimizer": optimizer}}
    architecture = Architecture.model_validate(content)
    checkpoint = Checkpoint(tmp_path / "kept.npz", "")
    first, second = (build_model("tiny", architecture, DATASET) for _ in range(2))
    fit_model(first, images, labels, architecture.fit, 10, checkpoint, ignore)
    checkpoint.restore(second)
    last = second.get_weights()
    fit_model(second, images, labels, architecture.fit, 10, checkpoint, ignore)
    assert not np.allclose(first.get_weights()[0], last[0]), "the average of the weights is not their last value"
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
