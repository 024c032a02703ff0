"""Stage 3: trains one architecture.

Writes the model, its summary as text, and the history: loss and accuracy of each epoch on the
training images and, where there is a validation split, on the held-out ones.
"""

import argparse
import contextlib
import csv
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common.arrays import Dataset, load_prepared
from stages.common.checkpoint import Checkpoint, training_identity
from stages.common.errors import command
from stages.common.files import write_csv, write_text
from stages.common.kernels import kernels_identity, why_not_portable
from stages.common.models import build_model, fuse_update, import_keras, make_deterministic, model_summary, save_model
from stages.common.params import Fit, load_params, mistake
from stages.common.versions import check_versions

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

HISTORY_COLUMNS = ("dataset", "architecture", "epoch", "split", "metric", "value")
SHOW_PROGRESS = "SHOW_PROGRESS"  # an environment variable
STEPS_AT_ONCE = 100  # in one call of TensorFlow's, during which Ctrl-C waits: a second or two
VALIDATION_BATCH = 1000  # images; no recipe has it, as only time and memory depend on it
SPLITS = {"train": "train", "validation": "eval"}  # our name: DVCLive's folder

Row = tuple[int, str, str, str]  # epoch from 1, split, metric, value
EpochEnd = Callable[[int, dict[str, float]], None]  # epoch from 0, its metrics


def batches(images: np.ndarray, labels: np.ndarray, fit: Fit, seed: int, epoch: "tf.Variable") -> "tf.data.Dataset":
    """The batches of an epoch: of the one whose number the variable has when they are begun.

    The order of an epoch's images depends on the seed and the epoch's number alone, not on the
    epochs before it, so that a training can go on after any epoch.

    Args:
        images: float32 (n, height, width, 1).
        labels: one-hot float32 (n, classes).
        fit: the batch size.
        seed: seeds the order.
        epoch: int64, from 0.

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
    """Trains the model in place.

    Args:
        model: compiled, taking images and giving class probabilities.
        images: float32 (n, height, width, 1) in [0, 1].
        labels: one-hot float32 (n, classes).
        fit: epochs, batch size and validation split; the split is the last part of the arrays.
        seed: seeds the order of the images.
        checkpoint: written after each epoch; training goes on from there if it was cut short.

    Returns:
        The history, by split, metric and epoch.

    Raises `PipelineError` at the end of an epoch whose loss is not finite.
    """
    import tensorflow as tf

    earlier = checkpoint.restore(model)
    done = max((epoch for epoch, *_ in earlier), default=0)
    if done:
        print(f"{model.name}: goes on after epoch {done} of {fit.epochs}, from {checkpoint.path}")
    train = train_count(len(images), fit)
    model.steps_per_execution = STEPS_AT_ONCE
    fuse_update(model)
    epoch = tf.Variable(done, dtype=tf.int64)
    with _dvclive(done) as (record, recorded):

        def history() -> list[Row]:
            return sorted([*earlier, *recorded()], key=lambda row: (row[1], row[2], row[0]))

        if done < fit.epochs:
            model.fit(
                batches(images[:train], labels[:train], fit, seed, epoch),
                shuffle=False,  # `batches` does
                initial_epoch=done,
                epochs=fit.epochs,
                validation_data=(images[train:], labels[train:]) if train < len(images) else None,
                validation_batch_size=VALIDATION_BATCH,
                callbacks=[
                    import_keras().callbacks.LambdaCallback(on_epoch_begin=lambda number, _: epoch.assign(number)),
                    _each_epoch(_check_finite(model.name, fit.epochs)),
                    record,
                    _each_epoch(lambda *_: checkpoint.save(model, history())),
                    *_progress(model.name, fit.epochs),
                ],
                verbose=0,
            )
        return history()


def train_count(count: int, fit: Fit) -> int:
    """How many of the first images are trained on; the rest is held out, as in Keras's `validation_split`."""
    return int(count * (1 - fit.validation_split))


@contextlib.contextmanager
def _dvclive(done: int) -> Iterator[tuple["keras.callbacks.Callback", Callable[[], list[Row]]]]:
    """DVCLive's callback, counting from the epochs done, and a function that gives what it has recorded."""
    from dvclive import Live
    from dvclive.keras import DVCLiveCallback

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.chdir(folder):  # where DVCLive finds no repository to write to or to stumble over
            live = Live(folder, dvcyaml=None, save_dvc_exp=False)
        live.step = done
        yield DVCLiveCallback(live=live), lambda: list(_read_dvclive(Path(folder)))


def _read_dvclive(folder: Path) -> Iterator[Row]:
    for split, subfolder in SPLITS.items():
        for metric in ("accuracy", "loss"):
            path = folder / "plots" / "metrics" / subfolder / f"{metric}.tsv"
            if path.exists():
                with path.open(newline="") as stream:
                    for row in csv.DictReader(stream, delimiter="\t"):
                        yield int(row["step"]) + 1, split, metric, f"{float(row[metric]):.6f}"


def _each_epoch(function: EpochEnd) -> "keras.callbacks.Callback":
    return import_keras().callbacks.LambdaCallback(on_epoch_end=function)


def _check_finite(name: str, epochs: int) -> EpochEnd:
    """Stops a training that has diverged, before anything is recorded of it."""

    def check(epoch: int, logs: dict[str, float]) -> None:
        for metric, value in logs.items():
            if not math.isfinite(value):
                key = f"architectures.{name}"
                found = f"{value} after epoch {epoch + 1} of {epochs}; try a smaller compile.optimizer learning_rate"
                raise mistake(key, f"a finite {metric}", found)

    return check


def _progress(name: str, epochs: int) -> list["keras.callbacks.Callback"]:
    """One line an epoch on a terminal, or where tools/repro.py shows them there; nothing elsewhere."""
    if not (sys.stderr.isatty() or SHOW_PROGRESS in os.environ):
        return []

    def line(epoch: int, logs: dict[str, float]) -> None:
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        print(f"{name}  epoch {epoch + 1}/{epochs}  {figures}", file=sys.stderr)

    return [_each_epoch(line)]


def check_split(name: str, fit: Fit, count: int) -> None:
    """Raises an error if the validation split leaves nothing on one of its sides."""
    if fit.validation_split and train_count(count, fit) in (0, count):
        key = f"architectures.{name}.fit.validation_split"
        raise mistake(key, "to leave images on both sides", f"{fit.validation_split} of {count} images")


@command
def main() -> None:
    """Trains one architecture of params.yaml on the prepared training images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("model", type=Path, help="the model to write, .keras")
    parser.add_argument("summary", type=Path, help="the model summary to write, .txt")
    parser.add_argument("history", type=Path, help="the history to write, .csv")
    parser.add_argument("checkpoint", type=Path, help="kept after each epoch, removed after success, .npz")
    arguments = parser.parse_args()
    check_versions("keras", "numpy")

    params = load_params()
    name = arguments.architecture
    architecture = params.architecture(name)
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    params.check_shapes(dataset.image, dataset.classes)
    check_split(name, architecture.fit, dataset.train)

    make_deterministic(params.train.seed, params.train.kernels)
    if why := why_not_portable(params.train.kernels):
        print(f"{name}: {why}: other machines give other bytes; to compare with theirs: make compare", file=sys.stderr)
    model = build_model(name, architecture, dataset)
    images, labels = load_prepared(arguments.prepared, "train")
    recipe = f"{name}: {architecture!r}, seed {params.train.seed}, {kernels_identity(params.train.kernels)}"
    files = [arguments.prepared / file for file in ("dataset.json", "x_train.npy", "y_train.npy")]
    checkpoint = Checkpoint(arguments.checkpoint, training_identity(recipe, files))
    history = fit_model(model, images, labels, architecture.fit, params.train.seed, checkpoint)

    save_model(model, arguments.model)
    write_text(arguments.summary, model_summary(model))
    write_csv(arguments.history, HISTORY_COLUMNS, ((dataset.dataset, name, *row) for row in history))
    checkpoint.remove()
    print(f"{name}: {model.count_params():,} parameters, trained for {architecture.fit.epochs} epochs")


if __name__ == "__main__":
    main()
