"""What the models of an architecture, one for each seed, give for the test images (metrics/predictions/NAME.json)."""

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, FiniteFloat

from stages.common.files import read_bytes, write_columns
from stages.common.prepared import MAX_CLASSES
from stages.results import tables
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError
from stages.support.json import read_as
from stages.support.params import Seed

HISTORY = ("seed", "epoch", "split", "metric", "value")  # columns of the history

Class = Annotated[int, Field(ge=0, lt=MAX_CLASSES)]
Epoch = Annotated[int, Field(ge=1, le=1_000_000)]
Row = tuple[Seed, Epoch, Literal["train", "validation"], Literal["loss", "accuracy"], FiniteFloat]


@dataclass(frozen=True)
class _File:
    """The file, as JSON. Lists of the images have one item for each, those of the models one for each seed."""

    dataset: str
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    seeds: list[Seed]
    models: list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]]
    parameters: Annotated[int, Field(ge=0)]
    loss: list[FiniteFloat]
    history: list[Row]
    label: list[Class]
    prediction: list[list[Class]]
    probability: list[list[FiniteFloat]]
    class_names: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises `ValueError` if the parts do not fit together."""
        seeds, images = len(self.seeds), len(self.label)
        if not seeds or self.seeds != sorted(set(self.seeds)):
            raise ValueError("seeds: expected one or more, sorted, each once")
        for key in ("models", "loss", "prediction", "probability"):
            if (count := len(getattr(self, key))) != seeds:
                raise ValueError(f"{key}: expected one for each of the {seeds} seeds, found {count}")
        if self.class_names and len(set(self.class_names)) != self.classes:
            raise ValueError(f"class_names: expected {self.classes} different names, found others")
        if not images or {*map(len, self.prediction), *map(len, self.probability)} != {images}:
            raise ValueError("prediction, probability: expected one for each label")
        if max(self.label + [value for row in self.prediction for value in row]) >= self.classes:
            raise ValueError(f"label, prediction: expected {self.classes} classes, found others")
        figures = {tuple(row[:4]) for row in self.history}
        trained = {(seed, epoch, metric) for seed, epoch, split, metric in figures if split == "train"}
        if len(figures) < len(self.history) or any((row[0], row[1], row[3]) not in trained for row in figures):
            raise ValueError("history: expected each figure once, for the training images too")
        if {seed for seed, *_ in trained} != set(self.seeds):
            raise ValueError("history: expected all seeds, and no others")


@dataclass(frozen=True)
class Predictions:
    """The predictions of an architecture's models, and how they were trained.

    Attributes:
        name: of the architecture.
        dataset: its name.
        classes: their number.
        seeds: sorted; those of the models.
        models: the MD5 of each model's file.
        parameters: the number of a model's weights.
        loss: of each model, rounded; mean categorical cross-entropy in nats, whatever loss it was trained with.
        history: rows (seed, epoch, split, metric, value).
        label: classes, int64 (n,), in the order of the test set.
        prediction: classes, int64 (seeds, n).
        probability: of the predictions, float64 (seeds, n).
        class_names: a name for each class; empty if the classes are numbers, and then not in the file.
    """

    name: str
    dataset: str
    classes: int
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    parameters: int
    loss: tuple[float, ...]
    history: list[Row]
    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray
    class_names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, content: bytes, name: str, where: str) -> "Predictions":
        """Reads what `write` wrote. Raises `PipelineError`, which names `where` it was, if it is something else."""
        file = read_as(_File, content, where)
        try:
            file.check()
        except ValueError as error:
            raise PipelineError(f"{where}: {error}") from error
        lists = "seeds", "models", "loss", "class_names"
        values: dict[str, Any] = vars(file) | {key: tuple(getattr(file, key)) for key in lists}
        values |= {"label": np.array(file.label), "prediction": np.array(file.prediction)}
        return cls(name, **values | {"probability": np.array(file.probability, dtype=float)})

    @classmethod
    def read(cls, path: Path, name: str, seeds: list[int], label: np.ndarray | None = None) -> "Predictions":
        """Reads the file at `path`; raises `PipelineError` if it is not of these seeds and labels (n,)."""
        with made_by(f"evaluate@{name}", path):
            predictions = cls.parse(read_bytes(path), name, str(path))
            if predictions.seeds != tuple(sorted(seeds)):
                raise PipelineError(f"{path}: expected the seeds {sorted(seeds)}, found {list(predictions.seeds)}")
            if label is not None and not np.array_equal(predictions.label, label):
                raise PipelineError(f"{path}: expected predictions for the {len(label):,} test images, found others")
            return predictions

    def write(self, path: Path, decimals: int) -> None:
        """Writes it as JSON, with rounded probabilities."""
        values = {item.name: getattr(self, item.name) for item in fields(_File)}
        values |= {"label": self.label.tolist(), "prediction": self.prediction.tolist()}
        values["probability"] = self.probability.round(decimals).tolist()
        if not self.class_names:
            del values["class_names"]
        write_columns(path, values)

    @property
    def names(self) -> list[int] | list[str]:
        """What the classes are called: their names or, without, their numbers."""
        return list(self.class_names) or list(range(self.classes))

    @property
    def right(self) -> np.ndarray:
        """Returns whether each prediction is right, bool (seeds, n)."""
        return self.label == self.prediction

    @property
    def accuracy(self) -> float:
        """Returns the mean accuracy over the seeds."""
        return float(self.right.mean())

    @property
    def several(self) -> str:
        """Returns the number of seeds, as text: `3 seeds`, `one seed`."""
        return f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else "one seed"

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """Returns confusion counts (classes, classes), summed over the seeds."""
        return tables.confusion(self.label, self.prediction, self.names)

    @cached_property
    def errors(self) -> pd.DataFrame:
        """Returns the images that a seed gets wrong, as `stages.results.tables.errors`."""
        return tables.errors(self.label, self.prediction, self.probability)

    @cached_property
    def class_figures(self) -> pd.DataFrame:
        """Returns images, errors, recall and precision of each class, as `stages.results.tables.class_figures`."""
        return tables.class_figures(self.confusion)

    @property
    def best(self) -> pd.Series:
        """Returns the class with the highest recall; the first of those that tie."""
        return self.class_figures.loc[self.class_figures["recall"].idxmax()]

    @property
    def worst(self) -> pd.Series:
        """Returns the class with the lowest recall; the first of those that tie."""
        return self.class_figures.loc[self.class_figures["recall"].idxmin()]

    def pairs(self, limit: int) -> pd.DataFrame:
        """Returns the most confused pairs, of all seeds together."""
        return tables.confused_pairs(self.confusion, limit)

    @property
    def most_common(self) -> np.ndarray:
        """Returns the prediction that most seeds give, (n,); the smallest class of those that tie."""
        return np.stack([(self.prediction == label).sum(axis=0) for label in range(self.classes)]).argmax(axis=0)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Mean (`value`), smallest (`low`) and largest (`high`) loss and accuracy over the seeds, for each epoch.

        If some seeds ended earlier than others, `seeds` counts those that a row is of. Without that column, a row is of
        all seeds.
        """
        by_epoch = pd.DataFrame(self.history, columns=list(HISTORY)).groupby(
            ["split", "metric", "epoch"], as_index=False
        )["value"]
        curves = by_epoch.agg(value="mean", low="min", high="max", seeds="size").round(6)
        curves = curves.assign(dataset=self.dataset, architecture=self.name)
        columns = ["dataset", "architecture", "epoch", "split", "metric", "value", "low", "high"]
        return curves[[*columns, "seeds"] if (curves["seeds"] < len(self.seeds)).any() else columns]

    @cached_property
    def of_seeds(self) -> pd.DataFrame:
        """Returns a row for each seed: accuracy, errors and loss on the test images, and accuracies after training.

        `train_accuracy` and `validation_accuracy` are those of its last epoch; the latter only with validation.
        """
        history = pd.DataFrame(self.history, columns=list(HISTORY))
        accuracies = history[history["metric"] == "accuracy"]
        epochs = accuracies.pivot_table(index=["seed", "epoch"], columns="split", values="value", aggfunc="last")
        last = epochs.groupby("seed").tail(1).droplevel("epoch")
        wrong = (~self.right).sum(axis=1)
        figures = {"accuracy": self.right.mean(axis=1), "errors": wrong, "loss": self.loss}
        table = pd.DataFrame({"seed": self.seeds, **figures})
        for split in ("train", "validation"):
            if split in last:
                table[f"{split}_accuracy"] = last[split].reindex(self.seeds).to_numpy()
        return table

    @property
    def gap(self) -> float | None:
        """Train minus validation accuracy after each seed's last epoch, as a mean; `None` without validation."""
        figures = self.of_seeds.reindex(columns=["train_accuracy", "validation_accuracy"])
        train, validation = figures.mean(skipna=False).round(6)
        return None if np.isnan(validation) else float(train - validation)

    def metrics(self, ensemble: float) -> dict[str, Any]:
        """Means over the seeds; with several, also their standard deviation and the accuracy of their `ensemble`.

        `loss` is in nats. `errors` counts test images. `accuracy_sd` is the sample standard deviation. `dataset` is in
        a list, as DVC shows texts elsewhere among the metrics.
        """
        table = self.of_seeds
        metrics: dict[str, Any] = {"accuracy": float(table["accuracy"].mean())}
        if len(table) > 1:
            metrics |= {"accuracy_sd": float(table["accuracy"].std(ddof=1)), "ensemble": ensemble}
        errors = table["errors"]
        metrics["errors"] = int(errors[0]) if len(table) == 1 else float(errors.mean())
        if self.gap is not None:
            metrics["gap"] = self.gap
        return metrics | {"loss": float(np.mean(self.loss)), "parameters": self.parameters, "dataset": [self.dataset]}


def ensemble_accuracy(label: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the accuracy of averaged predictions: label (n,), probabilities of all classes (seeds, n, classes)."""
    return float((probabilities.mean(axis=0).argmax(axis=1) == label).mean())
