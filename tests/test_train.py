"""The training loop: Keras's own `fit`, in few calls, with the optimizer's update as one operation."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from stages.common.arrays import Dataset
from stages.common.checkpoint import Checkpoint
from stages.common.models import build_model, import_keras
from stages.common.params import Architecture
from stages.train import batches, fit_model

DATASET = Dataset("tiny", 3, (4, 4, 1), train=50, test=1, sha256="")
LAYERS = ["Flatten", {"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 3, "activation": "softmax"}}]


@pytest.mark.parametrize("split", [0, 0.2])
@pytest.mark.parametrize("steps_at_once", [3, 100])  # of 7 or 5: the last call has fewer
def test_it_trains_as_keras_alone(
    split: float, steps_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_keras()
    import tensorflow as tf

    monkeypatch.setattr("stages.train.STEPS_AT_ONCE", steps_at_once)
    random = np.random.default_rng(0)
    images = random.random((50, 4, 4, 1), np.float32)
    labels = np.eye(3, dtype=np.float32)[random.integers(3, size=50)]
    fit = {"epochs": 3, "batch_size": 8, "validation_split": split}  # the last batch of an epoch is smaller
    architecture = Architecture.model_validate({"layers": LAYERS, "fit": fit})
    ours, theirs = (build_model("tiny", architecture, DATASET) for _ in range(2))
    theirs.set_weights(ours.get_weights())

    history = fit_model(ours, images, labels, architecture.fit, 10, Checkpoint(tmp_path / "kept.npz", ""))
    assert "update_step" in vars(ours.optimizer), "Keras's Adam has changed; see stages.common.models.fuse_update"
    train = round(50 * (1 - split))
    logs = defaultdict(list)
    for epoch in range(3):
        order = batches(images[:train], labels[:train], architecture.fit, 10, tf.Variable(epoch, dtype=tf.int64))
        validation = (images[train:], labels[train:]) if split else None
        for key, values in theirs.fit(order, validation_data=validation, shuffle=False, verbose=0).history.items():
            logs[key] += values

    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-6)
    told = {(split, metric): [] for _, split, metric, _ in history}
    for _, where, metric, value in history:
        told[where, metric].append(float(value))
    for (where, metric), values in told.items():
        key = metric if where == "train" else f"val_{metric}"
        assert values == pytest.approx(logs[key], abs=1e-5)
    assert len(told) == len(logs)


def test_it_trains_without_keras_private_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.common.models.PRIVATE_TO_ADAM", ("no longer there",))
    images, labels = np.ones((8, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[np.zeros(8, int)]
    architecture = Architecture.model_validate({"layers": LAYERS, "fit": {"epochs": 2, "batch_size": 4}})
    model = build_model("tiny", architecture, DATASET)
    history = fit_model(model, images, labels, architecture.fit, 10, Checkpoint(tmp_path / "kept.npz", ""))
    assert "update_step" not in vars(model.optimizer)
    assert [row[:3] for row in history] == [(n, "train", m) for m in ("accuracy", "loss") for n in (1, 2)]
