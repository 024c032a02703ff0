"""What one model gives for the test images: the file that evaluate writes for each architecture and seed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.arrays import MAX_CLASSES
from stages.common.errors import PipelineError
from stages.common.files import write_columns

LEAST = 1e-4  # probability from which a class is kept beside the prediction; a third of the file's size
COLUMNS = ("label", "prediction", "probability")


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
    def parse(cls, content: bytes, where: str) -> "Evaluation":
        """Reads what `write` wrote. Raises `PipelineError`, which names `where` it was, if it is something else."""
        try:
            columns = json.loads(content)
            (model,) = columns["model"]
            return cls(
                model["dataset"],
                *arrays(columns, where),
                columns["others"],
                float(model["loss"]),
                int(model["parameters"]),
                [tuple(row) for row in columns["history"]],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PipelineError(f"{where}: expected what evaluate writes ({error!r})") from error


def arrays(columns: dict[str, Any], where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and the probabilities of these, (n,), from the columns of a file.

    Raises `PipelineError` if there are not as many of each, or if a class is out of range; and `KeyError`, `TypeError`,
    `ValueError` or `OverflowError` if they are not lists of numbers.
    """
    label, prediction = (np.array(columns[key], dtype=np.int64) for key in COLUMNS[:2])
    probability = np.array(columns[COLUMNS[2]], dtype=np.float64)
    if label.ndim != 1 or not len(label) or not label.shape == prediction.shape == probability.shape:
        raise PipelineError(f"{where}: expected three lists, equally long: {', '.join(COLUMNS)}")
    if min(label.min(), prediction.min()) < 0 or max(label.max(), prediction.max()) >= MAX_CLASSES:
        raise PipelineError(f"{where}: expected classes from 0 to {MAX_CLASSES - 1}")
    return label, prediction, probability


def read_evaluation(path: Path, stage: str) -> Evaluation:
    """Reads a file that `Evaluation.write` wrote. Raises `PipelineError` naming the stage to run if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise PipelineError(f"{path}: no such file; make it with: dvc repro {stage}") from error
    return Evaluation.parse(content, str(path))


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
