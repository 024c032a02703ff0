"""The training loop: Keras's own `fit`, in few calls, with the optimizer's update compiled."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.arrays import Dataset
from stages.checkpoint import Checkpoint
from stages.models import build_model
from stages.params import Architecture
from stages.train import COMPILED_STEPS, batches, compiled_steps, fit_model

DATASET = Dataset("tiny", 3, (4, 4, 1), train=50, test=1, sha256="")
LAYERS = ["Flatten", {"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 3, "activation": "softmax"}}]


@given(st.integers(1, 100_000))
def test_an_epoch_is_a_whole_number_of_calls(steps: int) -> None:
    assert steps % compiled_steps(steps) == 0
    assert compiled_steps(steps) <= COMPILED_STEPS


def test_an_epoch_of_mnist_is_few_calls() -> None:
    for images, batch_size in ((48_000, 200), (60_000, 64)):
        steps = -(-images // batch_size)
        assert steps / compiled_steps(steps) < 20


@pytest.mark.parametrize("split", [0, 0.2])
def test_it_trains_as_keras_alone(split: float, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.random((50, 4, 4, 1), np.float32)
    labels = np.eye(3, dtype=np.float32)[random.integers(3, size=50)]
    fit = {"epochs": 3, "batch_size": 8, "validation_split": split}  # the last batch of an epoch is smaller
    architecture = Architecture.model_validate({"layers": LAYERS, "fit": fit})
    ours, theirs = (build_model("tiny", architecture, DATASET) for _ in range(2))
    theirs.set_weights(ours.get_weights())

    history = fit_model(ours, images, labels, architecture.fit, 10, Checkpoint(tmp_path / "kept.npz", ""))
    train = round(50 * (1 - split))
    order = batches(images[:train], labels[:train], architecture.fit, 10)
    validation = (images[train:], labels[train:]) if split else None
    logs = theirs.fit(
        order, epochs=3, steps_per_epoch=-(-train // 8), validation_data=validation, shuffle=False, verbose=0
    ).history

    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-6)
    told = {(split, metric): [] for _, split, metric, _ in history}
    for _, where, metric, value in history:
        told[where, metric].append(float(value))
    for (where, metric), values in told.items():
        key = metric if where == "train" else f"val_{metric}"
        assert values == pytest.approx(logs[key], abs=1e-5)
    assert len(told) == len(logs)
