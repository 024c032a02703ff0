"""Trains an architecture with one seed; writes the model, its history and a summary."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common.files import write_csv, write_text
from stages.common.kernels import Kernels
from stages.common.prepared import Dataset
from stages.models.building import build_model, train_count
from stages.models.checkpoint import CHECKPOINTS, Checkpoint
from stages.models.models import fuse_update, import_keras, make_deterministic, model_summary, save_model
from stages.support.architecture import Architecture, EarlyStopping, Fit
from stages.support.params import mistake
from stages.support.workers import EndEpoch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

HISTORY_COLUMNS = ("dataset", "architecture", "seed", "epoch", "split", "metric", "value")
SUMMARY = "summary.txt"  # of the model, in the folder with the models
STEPS_AT_ONCE = 100  # per call of TensorFlow, during which Ctrl-C waits: a second or two
VALIDATION_BATCH = 1000  # images; not part of a recipe, as only time and memory depend on it

Row = tuple[int, str, str, str]  # epoch from 1, split, metric, value


def batches(images: np.ndarray, labels: np.ndarray, fit: Fit, seed: int, epoch: "tf.Variable") -> "tf.data.Dataset":
    """Returns the batches of the epoch whose number the variable holds when the iteration begins.

    The order of an epoch's images depends on the seed and the epoch's number alone, not on earlier epochs, so that a
    training can resume after any epoch.

    Args:
        images: float32 (n, height, width, channels).
        labels: one-hot float32 (n, classes).
        fit: gives the batch size.
        seed: seeds the order.
        epoch: int64, counted from 0.

    Returns:
        (images, labels) batches; the last one may be smaller.
    """
    import tensorflow as tf

    def order(_: "tf.Tensor") -> "tf.data.Dataset":
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, epoch])
        return tf.data.Dataset.from_tensor_slices(shuffled).batch(fit.batch_size)

    return _read(images, labels, tf.data.Dataset.range(1).flat_map(order), fit.batch_size)


def in_order(images: np.ndarray, labels: np.ndarray) -> "tf.data.Dataset":
    """Returns batches of `VALIDATION_BATCH` images and labels, in their order."""
    import tensorflow as tf

    return _read(images, labels, tf.data.Dataset.range(len(images)).batch(VALIDATION_BATCH), VALIDATION_BATCH)


def _read(images: np.ndarray, labels: np.ndarray, indices: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
    """Returns batches of images and labels, from batches of their indices.

    NumPy reads each batch from the mapped files, so that all trainings of a machine share one copy of them in memory.
    A tensor would be one of its own, and so is a view (dlpack), as tf.data copies what its functions use.
    """
    import tensorflow as tf

    def read(index: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        batch = tf.numpy_function(lambda rows: (images[rows], labels[rows]), [index], (tf.float32,) * 2, stateful=False)
        return tuple(
            tf.ensure_shape(part, (None, *whole.shape[1:])) for part, whole in zip(batch, (images, labels), strict=True)
        )

    batched = indices.map(read).prefetch(1)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread takes up to two seconds to end, after each epoch
    count = tf.data.experimental.assert_cardinality(math.ceil(len(images) / size))
    return batched.apply(count).with_options(options)


def fit_model(
    model: "keras.Model",
    images: np.ndarray,
    labels: np.ndarray,
    fit: Fit,
    seed: int,
    checkpoint: Checkpoint,
    end_epoch: EndEpoch,
) -> list[Row]:
    """Trains the model in place, resuming from the checkpoint if there is one of this training.

    Args:
        model: compiled, taking images and giving class probabilities.
        images: float32 (n, height, width, channels) in [0, 1], as `Dataset.load` maps them.
        labels: one-hot float32 (n, classes), too.
        fit: epochs, batch size and validation split; the split is the last part of the arrays.
        seed: decides the order of the images.
        checkpoint: written after each epoch.
        end_epoch: called after each epoch that is trained; for what was trained earlier, once, with its last epoch.

    Returns:
        The history, sorted by split, metric and epoch.

    Raises `PipelineError` at the end of an epoch whose loss is not finite.
    """
    import tensorflow as tf

    history: list[Row] = checkpoint.restore(model)
    done = max((epoch for epoch, *_ in history), default=0)
    if done:
        end_epoch(done, {})
    train = train_count(len(images), fit)
    model.steps_per_execution = STEPS_AT_ONCE
    fuse_update(model)
    epoch = tf.Variable(done, dtype=tf.int64)

    def finish_epoch(number: int, logs: dict[str, float]) -> None:
        _check_finite(model.name, number, fit.epochs, logs)
        history.extend(_rows(number, logs))
        checkpoint.save(model, history)
        model.stop_training = no_longer_improves(history, fit.early_stopping)
        end_epoch(number + 1, logs)

    if done < fit.epochs and not no_longer_improves(history, fit.early_stopping):
        model.fit(
            batches(images[:train], labels[:train], fit, seed, epoch),
            shuffle=False,  # `batches` shuffles
            initial_epoch=done,
            epochs=fit.epochs,
            validation_data=in_order(images[train:], labels[train:]) if train < len(images) else None,
            class_weight=class_weights(fit, labels.shape[1]),
            callbacks=[
                import_keras().callbacks.LambdaCallback(
                    on_epoch_begin=lambda number, _: epoch.assign(number), on_epoch_end=finish_epoch
                )
            ],
            verbose=0,
        )
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # as fit does at its end, for averages
    return sorted(history, key=lambda row: (row[1], row[2], row[0]))


def class_weights(fit: Fit, classes: int) -> dict[int, float] | None:
    """Fills in a weight of 1 for the classes that `class_weight` does not name; `None` if it names none.

    Keras looks up each label between 0 and the largest class that is named, and fails for labels above it.
    """
    return {label: fit.class_weight.get(label, 1.0) for label in range(classes)} if fit.class_weight else None


def no_longer_improves(history: list[Row], stopping: EarlyStopping | None) -> bool:
    """Returns whether to stop early: the monitored figure had no new best value for `patience` epochs.

    Only the history decides, so that a resumed training ends where an uninterrupted one does.
    """
    if not stopping:
        return False
    where = "validation" if stopping.monitor.startswith("val_") else "train"
    metric = stopping.monitor.removeprefix("val_")
    values = [float(value) for _, split, name, value in history if (split, name) == (where, metric)]
    sign = -1 if metric == "loss" else 1
    best, best_epoch = -math.inf, 0
    for epoch, value in enumerate(values, start=1):
        if sign * value > best + stopping.min_delta:
            best, best_epoch = sign * value, epoch
    return len(values) - best_epoch >= stopping.patience


def _rows(epoch: int, logs: dict[str, float]) -> list[Row]:
    """Turns what Keras logs at the end of an epoch, counted from 0, into rows of the history."""
    return [
        (epoch + 1, "validation" if name.startswith("val_") else "train", name.removeprefix("val_"), f"{value:.6f}")
        for name, value in logs.items()
    ]


def _check_finite(name: str, epoch: int, epochs: int, logs: dict[str, float]) -> None:
    """Raises `PipelineError` if the training has diverged."""
    for metric, value in logs.items():
        if not math.isfinite(value):
            actual = f"{value} after epoch {epoch + 1} of {epochs}; try a smaller compile.optimizer learning_rate"
            raise mistake(f"architectures.{name}", f"a finite {metric}", actual)


@dataclass(frozen=True)
class Recipe:
    """An architecture to train, the same for all seeds.

    Attributes:
        name: of the architecture.
        architecture: its layers, and the arguments of `compile` and `fit`.
        kernels: what TensorFlow computes with.
        data: the folder of the prepared training images.
        output: the folder for models, histories and the summary.
    """

    name: str
    architecture: Architecture
    kernels: Kernels
    data: Path
    output: Path

    def checkpoint(self, seed: int) -> Path:
        """Where a training with this seed saves its state, until all seeds have been trained."""
        return CHECKPOINTS / self.name / f"{seed}.npz"

    def files(self, seed: int) -> tuple[str, str]:
        """The names of the model and of its history in the output folder."""
        return f"{seed}.keras", f"{seed}.csv"

    def train(self, seed: int, identity: str, end_epoch: EndEpoch) -> None:
        """Trains with one seed, and writes the model, its history and the summary.

        The history has loss and accuracy of each epoch, on the training images and, if there is a validation split, on
        the held-out images.
        """
        make_deterministic(seed, self.kernels)
        dataset = Dataset.read(self.data)
        model = build_model(self.name, self.architecture, dataset)
        images, labels = dataset.load(self.data)
        checkpoint = Checkpoint(self.checkpoint(seed), identity)
        history = fit_model(model, images, labels, self.architecture.fit, seed, checkpoint, end_epoch)
        saved, table = (self.output / name for name in self.files(seed))
        save_model(model, saved)
        write_csv(table, HISTORY_COLUMNS, ((dataset.dataset, self.name, seed, *row) for row in history))
        write_text(self.output / SUMMARY, model_summary(model))
