"""Reads the predictions that evaluate recorded for one architecture, from a revision."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.common.arrays import MAX_CLASSES
from stages.common.errors import PipelineError
from tools.common import results
from tools.common.revision import Revision


@dataclass(frozen=True)
class Predictions:
    """Label, prediction and its probability for each test image, in the test set's order: arrays (n,)."""

    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray

    @classmethod
    def read(cls, revision: Revision, name: str) -> "Predictions | None":
        """Reads an architecture's; `None` if it has none. Raises `PipelineError` if the file is not evaluate's."""
        path = results.predictions(name)
        columns = revision.read_json(path)
        if columns is None:
            return None
        try:
            label, prediction = (np.array(columns[key], dtype=np.int64) for key in ("label", "prediction"))
            probability = np.array(columns["probability"], dtype=np.float64)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PipelineError(
                f"{path} in {revision}: expected the lists label, prediction, probability ({error!r})"
            ) from error
        if label.ndim != 1 or not len(label) or not label.shape == prediction.shape == probability.shape:
            raise PipelineError(f"{path} in {revision}: expected three lists, equally long")
        if min(label.min(), prediction.min()) < 0 or max(label.max(), prediction.max()) >= MAX_CLASSES:
            raise PipelineError(f"{path} in {revision}: expected classes from 0 to {MAX_CLASSES - 1}")
        return cls(label, prediction, probability)

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, bool (n,)."""
        return self.label == self.prediction

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def table(self) -> pd.DataFrame:
        """The arrays as columns, a row for each test image."""
        return pd.DataFrame(vars(self))


def agreement(before: Predictions, after: Predictions) -> tuple[np.ndarray, float]:
    """Says which predictions are the same, bool (n,); and by how much, at most, the probability of these changed."""
    agree = before.prediction == after.prediction
    return agree, float(np.abs(before.probability - after.probability)[agree].max(initial=0))


def describe_difference(before: Predictions, after: Predictions, decimals: int) -> str:
    """Says how much two sides' predictions differ; their probabilities were recorded with `decimals` decimals."""
    if not np.array_equal(before.label, after.label):
        return "other test images: not compared"
    agree, change = agreement(before, after)
    if not agree.all():
        return f"predictions differ on {len(agree) - agree.sum():,} of {len(agree):,} images"
    if not change:
        return "same bytes"
    return (
        "same within rounding" if round(change, decimals) <= 10**-decimals else "same predictions, other probabilities"
    )
