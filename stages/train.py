"""Stage 3: trains one architecture with one seed.

Writes the model, its summary as text, and the history: loss and accuracy of each epoch on the training images and, if
there is a validation split, on the held-out images.
"""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from pydantic_core import PydanticCustomError

from stages.common.architecture import Architecture, EarlyStopping, Fit
from stages.common.building import build_model, train_count
from stages.common.checkpoint import Checkpoint, training_identity
from stages.common.errors import PipelineError, command
from stages.common.files import output_path, write_csv, write_text
from stages.common.kernels import kernels_identity, why_not_portable
from stages.common.models import fuse_update, import_keras, make_deterministic, model_summary, save_model
from stages.common.params import PARAMS_PATH, load_params, mistake
from stages.common.prepared import Dataset
from stages.common.sizes import MOST, check_sizes
from stages.common.versions import check_versions

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

HISTORY_COLUMNS = ("dataset", "architecture", "seed", "epoch", "split", "metric", "value")
SHOW_PROGRESS = "SHOW_PROGRESS"  # an environment variable
STEPS_AT_ONCE = 100  # per call of TensorFlow, during which Ctrl-C waits: a second or two
VALIDATION_BATCH = 1000  # images; not part of a recipe, as only time and memory depend on it

Row = tuple[int, str, str, str]  # epoch from 1, split, metric, value


def batches(images: np.ndarray, labels: np.ndarray, fit: Fit, seed: int, epoch: "tf.Variable") -> "tf.data.Dataset":
    """The batches of the epoch whose number the variable holds when the iteration begins.

    The order of an epoch's images depends on the seed and the epoch's number alone, not on earlier epochs, so that a
    training can resume after any epoch.

    Args:
        images: float32 (n, height, width, 1).
        labels: one-hot float32 (n, classes).
        fit: gives the batch size.
        seed: seeds the order.
        epoch: int64, counted from 0.

    Returns:
        (images, labels) batches; the last one may be smaller.
    """
    import tensorflow as tf

    images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)

    def order(_: "tf.Tensor") -> "tf.data.Dataset":
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, epoch])
        return tf.data.Dataset.from_tensor_slices(shuffled).batch(fit.batch_size)

    indices = tf.data.Dataset.range(1).flat_map(order)
    found = indices.map(lambda index: (tf.gather(images, index), tf.gather(labels, index))).prefetch(1)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread takes up to two seconds to end, after each epoch
    count = tf.data.experimental.assert_cardinality(math.ceil(len(images) / fit.batch_size))
    return found.apply(count).with_options(options)


def fit_model(
    model: "keras.Model", images: np.ndarray, labels: np.ndarray, fit: Fit, seed: int, checkpoint: Checkpoint
) -> list[Row]:
    """Trains the model in place, resuming from the checkpoint if there is one of this training.

    Args:
        model: compiled, taking images and giving class probabilities.
        images: float32 (n, height, width, 1) in [0, 1].
        labels: one-hot float32 (n, classes).
        fit: epochs, batch size and validation split; the split is the last part of the arrays.
        seed: decides the order of the images.
        checkpoint: written after each epoch.

    Returns:
        The history, sorted by split, metric and epoch.

    Raises `PipelineError` at the end of an epoch whose loss is not finite.
    """
    import tensorflow as tf

    history: list[Row] = checkpoint.restore(model)
    done = max((epoch for epoch, *_ in history), default=0)
    if done:
        print(f"{model.name}-{seed}: resuming after epoch {done} of {fit.epochs}, from {checkpoint.path}")
    train = train_count(len(images), fit)
    model.steps_per_execution = STEPS_AT_ONCE
    fuse_update(model)
    epoch = tf.Variable(done, dtype=tf.int64)

    def end_epoch(number: int, logs: dict[str, float]) -> None:
        _check_finite(model.name, number, fit.epochs, logs)
        history.extend(_rows(number, logs))
        checkpoint.save(model, history)
        model.stop_training = no_longer_improves(history, fit.early_stopping)
        _show_progress(f"{model.name}-{seed}", number, fit.epochs, logs)

    if done < fit.epochs and not no_longer_improves(history, fit.early_stopping):
        model.fit(
            batches(images[:train], labels[:train], fit, seed, epoch),
            shuffle=False,  # `batches` shuffles
            initial_epoch=done,
            epochs=fit.epochs,
            validation_data=(images[train:], labels[train:]) if train < len(images) else None,
            validation_batch_size=VALIDATION_BATCH,
            class_weight=fit.class_weight,
            callbacks=[
                import_keras().callbacks.LambdaCallback(
                    on_epoch_begin=lambda number, _: epoch.assign(number), on_epoch_end=end_epoch
                )
            ],
            verbose=0,
        )
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # as fit does at its end, for averages
    return sorted(history, key=lambda row: (row[1], row[2], row[0]))


def no_longer_improves(history: list[Row], stopping: EarlyStopping | None) -> bool:
    """Whether the training ends early: the monitored figure has had no new best value for `patience` epochs.

    It is told from the history alone, so that a resumed training ends where an uninterrupted one does.
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
    """What Keras logs at the end of an epoch, which counts from 0, as rows of the history."""
    return [
        (epoch + 1, "validation" if name.startswith("val_") else "train", name.removeprefix("val_"), f"{value:.6f}")
        for name, value in logs.items()
    ]


def _check_finite(name: str, epoch: int, epochs: int, logs: dict[str, float]) -> None:
    """Stops a training that has diverged, before anything of it is recorded."""
    for metric, value in logs.items():
        if not math.isfinite(value):
            found = f"{value} after epoch {epoch + 1} of {epochs}; try a smaller compile.optimizer learning_rate"
            raise mistake(f"architectures.{name}", f"a finite {metric}", found)


def _show_progress(name: str, epoch: int, epochs: int, logs: dict[str, float]) -> None:
    """Prints one line per epoch on a terminal, or where `make repro` asks for it to draw a bar."""
    if sys.stderr.isatty() or SHOW_PROGRESS in os.environ:
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        print(f"{name}  epoch {epoch + 1}/{epochs}  {figures}", file=sys.stderr)


def check_fit(name: str, architecture: Architecture, dataset: Dataset) -> None:
    """Raises `PipelineError` if a training does not fit the data, or the memory of this machine."""
    fit, key = architecture.fit, f"architectures.{name}.fit"
    if fit.validation_split and train_count(dataset.train, fit) in (0, dataset.train):
        found = f"{fit.validation_split} of {dataset.train} images"
        raise mistake(f"{key}.validation_split", "to leave images on both sides", found)
    for label in fit.class_weight or ():
        if label >= dataset.classes:
            raise mistake(f"{key}.class_weight", f"classes from 0 to {dataset.classes - 1}", label)
    try:
        check_sizes(architecture, dataset.image, dataset.classes, min(MOST, psutil.virtual_memory().total))
    except PydanticCustomError as error:
        where, message = error.context["where"], error.context["message"]
        raise PipelineError(f"{PARAMS_PATH}: architectures.{name}.{where}: {message}") from error


@command
def main() -> None:
    """Trains one architecture of params.yaml, with one seed, on the prepared training images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("seed", type=int, help="decides the initial weights, dropout, and the order of the images")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("model", type=output_path, help="the model to write, .keras")
    parser.add_argument("summary", type=Path, help="the model summary to write, .txt")
    parser.add_argument("history", type=Path, help="the history to write, .csv")
    parser.add_argument("checkpoint", type=Path, help="written after each epoch, removed after success, .npz")
    arguments = parser.parse_args()
    check_versions("keras", "numpy")

    params = load_params()
    name, seed = arguments.architecture, arguments.seed
    architecture = params.architecture(name)
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    check_fit(name, architecture, dataset)

    make_deterministic(seed, params.train.kernels)
    if why := why_not_portable(params.train.kernels):
        print(
            f"{name}-{seed}: {why}: other machines give other bytes; compare with their results by: make compare",
            file=sys.stderr,
        )
    model = build_model(name, architecture, dataset)
    images, labels = dataset.load(arguments.prepared, "train")
    recipe = f"{name}: {architecture!r}, seed {seed}, {kernels_identity(params.train.kernels)}"
    files = [arguments.prepared / file for file in ("dataset.json", "x_train.npy", "y_train.npy")]
    checkpoint = Checkpoint(arguments.checkpoint, training_identity(recipe, files))
    history = fit_model(model, images, labels, architecture.fit, seed, checkpoint)

    save_model(model, arguments.model)
    write_text(arguments.summary, model_summary(model))
    write_csv(arguments.history, HISTORY_COLUMNS, ((dataset.dataset, name, seed, *row) for row in history))
    checkpoint.remove()
    print(f"{name}-{seed}: {model.count_params():,} parameters, trained for {max(row[0] for row in history)} epochs")


if __name__ == "__main__":
    main()
