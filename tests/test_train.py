"""The training loop: Keras's own `fit`, in few calls, with the optimizer's update as one operation."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.checkpoint import Checkpoint
from stages.models.models import import_keras
from stages.models.training import Row, batches, fit_model, no_longer_improves
from stages.support.architecture import Architecture, EarlyStopping
from stages.support.errors import PipelineError
from stages.train import check_fit

DATASET = Dataset("tiny", 3, (4, 4, 1), count=50)
LAYERS = ["Flatten", {"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 3, "activation": "softmax"}}]
IMAGES = np.random.default_rng(0).random((50, 4, 4, 1), np.float32)
LABELS = np.eye(3, dtype=np.float32)[np.random.default_rng(1).integers(3, size=50)]


def architecture(optimizer: dict | None = None, **fit: object) -> Architecture:
    compile_ = {"optimizer": optimizer} if optimizer else {}
    return Architecture.model_validate({"layers": LAYERS, "fit": {"batch_size": 4, **fit}, "compile": compile_})


def fitted(
    recipe: Architecture, folder: Path, model: Any = None, count: int = 8, report: Any = None, identity: str = ""
) -> tuple:
    """Trains a model on the first images, with a checkpoint in `folder`; returns it, and the rows of its history."""
    model = model or build_model("tiny", recipe, DATASET)
    checkpoint = Checkpoint(folder / "kept.npz", identity)
    report = report or (lambda *_: None)
    return model, fit_model(model, IMAGES[:count], LABELS[:count], recipe.fit, 10, checkpoint, report)


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
def test_it_trains_as_keras_alone(split, weights, steps_at_once: int, optimizer: dict, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("stages.models.training.STEPS_AT_ONCE", steps_at_once)
    # the last batch of an epoch is smaller
    fit = {"epochs": 3, "batch_size": 8, "validation_split": split, "class_weight": weights}
    recipe = architecture({"Adam": optimizer}, **fit)
    weight_of = {label: (weights or {}).get(label, 1) for label in range(3)}  # Keras alone needs each class
    ours, theirs = (build_model("tiny", recipe, DATASET) for _ in range(2))
    theirs.set_weights(ours.get_weights())

    _, history = fitted(recipe, tmp_path, ours, 50)
    is_fused = "update_step" in vars(ours.optimizer)
    assert is_fused != optimizer.get("amsgrad", False), "Keras's Adam has changed; see stages.models.models.fuse_update"
    train = round(50 * (1 - split))
    logs = defaultdict(list)
    for epoch in range(3):
        order = batches(IMAGES[:train], LABELS[:train], recipe.fit, 10, variable(epoch))
        validation = (IMAGES[train:], LABELS[train:]) if split else None
        epoch_logs = theirs.fit(order, validation_data=validation, class_weight=weight_of, shuffle=False, verbose=0)
        for key, values in epoch_logs.history.items():
            logs[key] += values

    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-6)
    recorded = defaultdict(list)
    for _, where, metric, value in history:
        recorded[metric if where == "train" else f"val_{metric}"].append(float(value))
    assert recorded == {key: pytest.approx(values, abs=1e-5) for key, values in logs.items()}


def variable(epoch: int) -> Any:
    import_keras()
    import tensorflow as tf

    return tf.Variable(epoch, dtype=tf.int64)


def test_it_trains_without_keras_private_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.models.models.PRIVATE_TO_ADAM", ("no longer there",))
    model, history = fitted(architecture(epochs=2), tmp_path)
    assert "update_step" not in vars(model.optimizer)
    assert [row[:3] for row in history] == [(n, "train", m) for m in ("accuracy", "loss") for n in (1, 2)]
    assert all(re.fullmatch(r"\d\.\d{6}", value) for *_, value in history)


@pytest.mark.parametrize(
    ("seed", "epoch", "order"),  # as TensorFlow 2.21 gave it, on any machine; another order would be another training
    [
        (10, 0, [[6, 1, 0], [7, 5, 4], [2, 3]]),
        (10, 1, [[3, 4, 5], [7, 0, 2], [1, 6]]),
        (11, 0, [[6, 5, 4], [2, 1, 7], [3, 0]]),
    ],
)
def test_the_seed_and_the_epoch_decide_the_order_of_the_images(seed: int, epoch: int, order: list) -> None:
    numbers, fit = np.arange(8, dtype=np.float32), architecture(epochs=1, batch_size=3).fit
    given = list(batches(numbers.reshape(8, 1, 1, 1), np.eye(8, dtype=np.float32), fit, seed, variable(epoch)))
    assert [images.numpy().ravel().tolist() for images, _ in given] == order
    assert [labels.numpy().argmax(axis=1).tolist() for _, labels in given] == order


@pytest.mark.parametrize(
    ("fit", "memory", "message"),  # of 50 images and 3 classes
    [
        ({"validation_split": 0.99}, 2**40, "validation_split: expected to leave images on both sides, found 0.99 of"),
        ({"validation_split": 1e-20}, 2**40, "validation_split: expected to leave images on both sides, found 1e-20"),
        ({"class_weight": {3: 9.0}}, 2**40, "class_weight: expected classes from 0 to 2, found 3"),
        ({"batch_size": 10**8}, 2**33, "batch_size: expected a training that needs at most 8 GiB of memory, found"),
        ({"batch_size": 10**9}, 2**40, "batch_size: expected a training that needs at most 64 GiB of memory, found"),
    ],
)
def test_a_training_fits_the_data_and_the_memory(fit: dict, memory: int, message: str, monkeypatch) -> None:
    monkeypatch.setattr("stages.train.total_memory", lambda: memory)
    with pytest.raises(PipelineError, match=rf"^params.yaml: architectures.tiny.fit.{message}"):
        check_fit("tiny", architecture(epochs=1, **fit), DATASET)
    monkeypatch.setattr("stages.train.total_memory", lambda: 2**40)
    most = {"validation_split": 0.98, "class_weight": {2: 9.0}, "batch_size": 10**8}  # 10 GiB
    check_fit("tiny", architecture(epochs=1, **most), DATASET)


def test_each_epoch_is_reported_and_those_of_a_cut_training_at_once(tmp_path: Path) -> None:
    reported = []
    for epochs in (2, 4):
        recipe = architecture(epochs=epochs, validation_split=0.5)
        fitted(recipe, tmp_path, report=lambda epoch, logs: reported.append((epoch, sorted(logs))))
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert reported == [(1, names), (2, names), (2, []), (3, names), (4, names)]


# NumPy leaves a damaged file to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_of_another_training_and_a_damaged_one_are_passed_over(tmp_path: Path, capsys) -> None:
    recipe, path, reported = architecture(epochs=2), tmp_path / "kept.npz", []
    fitted(recipe, tmp_path)
    fitted(recipe, tmp_path, identity="another", report=lambda epoch, _: reported.append(epoch))
    path.write_bytes(path.read_bytes()[:-100])
    fitted(recipe, tmp_path, identity="another", report=lambda epoch, _: reported.append(epoch))
    assert reported == [1, 2, 1, 2]
    line = f"{path}: cannot read this checkpoint; training starts from the first epoch\n"
    assert capsys.readouterr().err == line


def test_a_training_that_diverges_ends_with_its_epoch_and_saves_nothing(tmp_path: Path) -> None:
    line = "params.yaml: architectures.tiny: expected a finite loss, found (nan|inf) after epoch 1 of 3; try a smaller"
    with pytest.raises(PipelineError, match=line):
        fitted(architecture({"SGD": {"learning_rate": 3e38}}, epochs=3), tmp_path)
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
    recipe = architecture(epochs=9, validation_split=0.5, early_stopping={"patience": 2, "min_delta": 5})
    trained = []
    for _ in range(2):  # the second time, all epochs are in the checkpoint
        model, rows = fitted(recipe, tmp_path, count=20)
        assert {epoch for epoch, *_ in rows} == {1, 2, 3}
        trained.append(model.get_weights())
    for first, second in zip(*trained, strict=True):
        np.testing.assert_array_equal(first, second)


def test_averaged_weights_are_kept_after_a_cut_too(tmp_path: Path) -> None:
    recipe = architecture({"Adam": {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.9}}, epochs=2)
    first, _ = fitted(recipe, tmp_path)
    resumed = build_model("tiny", recipe, DATASET)
    assert Checkpoint(tmp_path / "kept.npz", "of another training").restore(resumed) == []
    assert len(Checkpoint(tmp_path / "kept.npz", "").restore(resumed)) == 4, "loss and accuracy of two epochs"
    last = resumed.get_weights()
    fitted(recipe, tmp_path, resumed)
    assert not np.allclose(first.get_weights()[0], last[0]), "the average of the weights is not their last value"
    np.testing.assert_array_equal(first.get_weights()[0], resumed.get_weights()[0])
