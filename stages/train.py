"""Stage 3: trains one architecture.

Writes the model, its summary as text, and the history: loss and accuracy of each epoch on the
training images and, where there is a validation split, on the held-out ones.
"""

import argparse
import contextlib
import csv
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.arrays import Dataset, load_prepared
from stages.errors import command
from stages.files import write_csv, write_text
from stages.models import build_model, import_keras, model_summary, save_model, seed_everything
from stages.params import Fit, load_params, mistake

if TYPE_CHECKING:
    import keras

HISTORY_COLUMNS = ("dataset", "architecture", "epoch", "split", "metric", "value")
SPLITS = {"train": "train", "validation": "eval"}  # our name: DVCLive's folder


def fit_model(model: "keras.Model", images: np.ndarray, labels: np.ndarray, fit: Fit) -> list[tuple]:
    """Trains the model in place.

    Args:
        model: compiled, taking images and giving class probabilities.
        images: float32 (n, height, width, 1) in [0, 1].
        labels: one-hot float32 (n, classes).
        fit: epochs, batch size and validation split; the split is the last part of the arrays.

    Returns:
        The history: (epoch from 1, split, metric, value) rows.
    """
    from dvclive import Live
    from dvclive.keras import DVCLiveCallback

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.chdir(folder):  # where DVCLive finds no repository to write to or to stumble over
            live = Live(folder, dvcyaml=None, save_dvc_exp=False)
        callbacks = [DVCLiveCallback(live=live), *_progress(model.name, fit.epochs)]
        model.fit(images, labels, **fit.model_dump(), callbacks=callbacks, verbose=0)
        return list(_read_dvclive(Path(folder)))


def _read_dvclive(folder: Path):
    for split, subfolder in SPLITS.items():
        for metric in ("accuracy", "loss"):
            path = folder / "plots" / "metrics" / subfolder / f"{metric}.tsv"
            if path.exists():
                with path.open(newline="") as stream:
                    for row in csv.DictReader(stream, delimiter="\t"):
                        yield int(row["step"]) + 1, split, metric, f"{float(row[metric]):.6f}"


def _progress(name: str, epochs: int) -> list["keras.callbacks.Callback"]:
    """One line an epoch on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return []

    def line(epoch: int, logs: dict[str, float]) -> None:
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        print(f"{name}  epoch {epoch + 1}/{epochs}  {figures}", file=sys.stderr)

    return [import_keras().callbacks.LambdaCallback(on_epoch_end=line)]


def check_split(name: str, fit: Fit, count: int) -> None:
    """Raises an error if the validation split leaves nothing on one of its sides."""
    held_out = count - int(count * (1 - fit.validation_split))
    if fit.validation_split and held_out in (0, count):
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
    arguments = parser.parse_args()

    params = load_params()
    name = arguments.architecture
    architecture = params.architecture(name)
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    params.check_shapes(dataset.image, dataset.classes)
    check_split(name, architecture.fit, dataset.train)

    seed_everything(params.train.seed)
    model = build_model(name, architecture, dataset)
    images, labels = load_prepared(arguments.prepared, "train")
    history = fit_model(model, images, labels, architecture.fit)

    save_model(model, arguments.model)
    write_text(arguments.summary, model_summary(model))
    write_csv(arguments.history, HISTORY_COLUMNS, ((dataset.dataset, name, *row) for row in history))
    print(f"{name}: {model.count_params():,} parameters, trained for {architecture.fit.epochs} epochs")


if __name__ == "__main__":
    main()
