"""What one model gives for the test images: the file that evaluate writes for each architecture and seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from stages.common.archive import MAX_CLASSES
from stages.common.errors import PipelineError
from stages.common.files import read_bytes, write_columns
from stages.common.json import read_as

HISTORY = {"epoch": "int64", "split": str, "metric": str, "value": "float64"}  # columns of a training's history
LEAST = 1e-4  # probability from which a class is kept beside the prediction; a third of the file's size


@dataclass(frozen=True)
class Evaluation:
    """The predictions of one model, or of an ensemble.

    Attributes:
        dataset: its name.
        label, prediction: classes, int64 (n,), in the order of the test set.
        probability: of the predictions, float64 (n,).
        others: for each image, the other classes with a probability of at least `LEAST`, and always the label: class,
            probability, class, …
        loss: mean categorical cross-entropy in nats, whatever loss the model was trained with.
        parameters: number of weights.
        history: of its training, as rows (epoch, split, metric, value); empty for an ensemble.
    """

    dataset: str
    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray
    others: list[list[float]]
    loss: float
    parameters: int
    history: list[tuple[int, str, str, float]]

    @classmethod
    def of(cls, dataset: str, label: np.ndarray, probabilities: np.ndarray, **rest: Any) -> "Evaluation":
        """Makes one from the probabilities of all classes, float (n, classes)."""
        prediction = probabilities.argmax(axis=1)
        others = []
        for true, predicted, row in zip(label.tolist(), prediction.tolist(), probabilities.tolist(), strict=True):
            kept = {index: value for index, value in enumerate(row) if value >= LEAST or index == true}
            kept.pop(predicted, None)
            others.append([number for item in kept.items() for number in item])
        return cls(dataset, label, prediction, probabilities.max(axis=1).astype(float), others, **rest)

    @property
    def accuracy(self) -> float:
        return float((self.label == self.prediction).mean())

    def probabilities(self, classes: int) -> np.ndarray:
        """The probabilities of all classes, float64 (n, classes); 0 for those that were not kept."""
        found = np.zeros((len(self.label), classes))
        found[np.arange(len(found)), self.prediction] = self.probability
        for row, kept in zip(found, self.others, strict=True):
            row[kept[::2]] = kept[1::2]
        return found

    def write(self, path: Path, decimals: int) -> None:
        """Writes it as JSON. All but the accuracy is in lists, as DVC shows every number elsewhere as a metric."""
        others = [[round(number, decimals) for number in kept] for kept in self.others]
        columns = {
            "accuracy": round(self.accuracy, decimals),
            "model": [{"dataset": self.dataset, "loss": round(self.loss, decimals), "parameters": self.parameters}],
            "history": self.history,
            "label": self.label.tolist(),
            "prediction": self.prediction.tolist(),
            "probability": self.probability.round(decimals).tolist(),
            "others": others,
        }
        write_columns(path, columns)

    @classmethod
    def parse(cls, content: bytes, where: str, hint: str = "") -> "Evaluation":
        """Reads what `write` wrote. Raises `PipelineError`, which names `where` it was, if it is something else."""
        file = read_as(_File, content, where, hint)
        predictions = file.arrays(where, hint)
        if len(file.others) != len(file.label) or any(len(kept) % 2 for kept in file.others):
            raise PipelineError(f"{where}: others: expected a list of pairs for each image, found another", hint)
        if any(not isinstance(kept, int) or not 0 <= kept < MAX_CLASSES for row in file.others for kept in row[::2]):
            raise PipelineError(f"{where}: others: expected classes from 0 to {MAX_CLASSES - 1}, found another", hint)
        figures = {(epoch, metric, split) for epoch, split, metric, _ in file.history}
        if len(figures) < len(file.history) or any((*key, "train") not in figures for *key, _ in figures):
            raise PipelineError(f"{where}: history: expected each figure once, for the training images too", hint)
        (model,) = file.model
        return cls(model.dataset, *predictions, file.others, model.loss, model.parameters, file.history)


Class = Annotated[int, Field(ge=0, lt=MAX_CLASSES)]
Epoch = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Columns:
    """The lists of a file with predictions: one item for each test image."""

    label: list[Class]
    prediction: list[Class]
    probability: list[FiniteFloat]

    def arrays(self, where: str, hint: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels and predictions, int64 (n,), and probabilities, float64 (n,).

        Raises `PipelineError` if there are none, or not as many of each.
        """
        if not self.label or not len(self.label) == len(self.prediction) == len(self.probability):
            names = "label, prediction, probability"
            raise PipelineError(f"{where}: expected three lists, equally long: {names}", hint)
        return np.array(self.label), np.array(self.prediction), np.array(self.probability, dtype=float)


@dataclass(frozen=True)
class _Model:
    dataset: str
    loss: FiniteFloat
    parameters: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class _File(Columns):
    """The columns of a file that `Evaluation.write` wrote."""

    model: tuple[_Model]
    history: list[tuple[Epoch, Literal["train", "validation"], Literal["loss", "accuracy"], FiniteFloat]]
    others: list[list[int | FiniteFloat]]


def read_evaluation(path: Path, stage: str, classes: int, label: np.ndarray | None = None) -> Evaluation:
    """Reads a file that `Evaluation.write` wrote.

    Args:
        path: of the file.
        stage: that makes it.
        classes: the number of classes.
        label: of the test images, integers (n,); `None` if they are not known.

    Raises `PipelineError`, naming the stage, if the file is missing, is damaged, or is of other test images or classes.
    """
    hint = f"make it anew with: dvc repro {stage}"
    found = Evaluation.parse(read_bytes(path, hint), str(path), hint)
    if label is not None and not np.array_equal(found.label, label):
        raise PipelineError(f"{path}: expected predictions for the {len(label):,} test images, found others", hint)
    highest = max(found.label.max(), found.prediction.max(), *(max(kept[::2], default=0) for kept in found.others))
    if highest >= classes:
        raise PipelineError(f"{path}: expected predictions of {classes} classes, found class {highest}", hint)
    return found


def average(members: Iterable[Evaluation], classes: int) -> Evaluation:
    """Averages the members' class probabilities: what an ensemble gives.

    The loss is computed from the recorded probabilities, which are rounded. A probability of 0 counts as 1e-7.
    """
    members = list(members)
    first = members[0]
    mean = np.mean([member.probabilities(classes) for member in members], axis=0)
    of_label = mean[np.arange(len(mean)), first.label]
    return Evaluation.of(
        first.dataset,
        first.label,
        mean,
        loss=float(-np.log(of_label.clip(min=1e-7)).mean()),
        parameters=sum(member.parameters for member in members),
        history=[],
    )
