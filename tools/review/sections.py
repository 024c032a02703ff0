"""Gathers what a review shows of one changed architecture: digits, classes, confusion, training."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from tools.common import results
from tools.common.changes import NEW, Change
from tools.common.comparison import COUNTS, read_table
from tools.common.revision import Revision
from tools.review.content import Review
from tools.review.error_images import error_images

MOST_EPOCHS, MOST_METRICS = 100_000, 50  # rows of a history and figures that are shown
LARGEST = 1e15  # of these, as a picture and a page cannot show any number
CURVES = {"epoch": "int64", "split": str, "metric": str, "value": "float64"}  # columns of a history
Images = dict[int, np.ndarray]  # by index in the test set, uint8 (height, width)


@dataclass(frozen=True)
class Digit:
    """A test image that became right or wrong, for more than half of the seeds.

    `old` and `new` are the predictions that most seeds give, of those that get it wrong where it is wrong.
    `probability` is that of the wrong one. `seeds_wrong` counts the seeds that get it wrong, as `0 → 2`; if the sides
    have not as many seeds, as `0 of 1 → 2 of 3`.
    """

    index: int
    label: int
    old: int
    new: int
    probability: float
    seeds_wrong: str
    png: bytes | None

    @property
    def wrong(self) -> int:
        """The wrong prediction, which is the old or the new one."""
        return self.old if self.new == self.label else self.new


@dataclass(frozen=True)
class Training:
    """One side's training: its history, with the columns epoch, split, metric, value, maybe seeds; and its metrics."""

    history: pd.DataFrame | None
    metrics: dict[str, int | float]

    @classmethod
    def read(cls, revision: Revision, name: str) -> "Training":
        """Reads them; what is not there or not readable is `None` or empty."""
        try:
            path = results.history(name)
            columns = CURVES | COUNTS
            content = revision.read(path) or b""
            history = read_table(content, str(path), usecols=lambda column: column in columns, dtype=columns)
            complete = CURVES.keys() <= set(history) and len(history) <= MOST_EPOCHS
            if not complete or not (history["value"].abs() < LARGEST).all():
                history = None
        except PipelineError:
            history = None
        try:
            metrics = revision.read_json(results.metrics(name))
        except PipelineError:
            metrics = {}
        items = list(metrics.items())[:MOST_METRICS] if isinstance(metrics, dict) else ()
        numbers = {key: value for key, value in items if type(value) in (int, float) and abs(value) < LARGEST}
        return cls(history, numbers)

    @property
    def gap(self) -> float | None:
        """Train minus validation accuracy after the last epoch; `None` without validation."""
        return self.metrics.get("gap")


@dataclass(frozen=True)
class Section:
    """One architecture: its newly wrong and newly right digits, and its training.

    A new architecture has no `base` and no digits.
    """

    architecture: Change
    base: Training | None
    head: Training
    newly_wrong: list[Digit]
    newly_right: list[Digit]

    @property
    def is_new(self) -> bool:
        return self.architecture.note == NEW


def sections(review: Review) -> tuple[list[Section], list[str]]:
    """Builds a section for each changed architecture that can be shown; and lists the missing pictures, a line each."""
    images, missing = _images(review)
    return [_section(item, review, images) for item in review.changed if not item.note or item.note == NEW], missing


def _images(review: Review) -> tuple[Images, list[str]]:
    """Reads the test images of both sides; none if the data set differs."""
    if review.other_data:
        return {}, []
    before = error_images(review.base, {item.name: item.base for item in review.architectures if item.base})
    after = error_images(review.head, {item.name: item.head for item in review.architectures if item.head})
    return before[0] | after[0], before[1] + after[1]


def _section(item: Change, review: Review, images: Images) -> Section:
    head = Training.read(review.head, item.name)
    if item.note == NEW:
        return Section(item, None, head, [], [])
    wrong, right = _digits(item, item.broke, item.head, images), _digits(item, item.fixed, item.base, images)
    return Section(item, Training.read(review.base, item.name), head, wrong, right)


def _digits(item: Change, indices: np.ndarray, wrong: Predictions, images: Images) -> list[Digit]:
    """Lists the digits at `indices`, errors of most seeds first; `wrong` is the side that gets them wrong."""
    old, new = item.base.most_common, item.head.most_common
    right = item.base.right, item.head.right
    differ = len(right[0]) != len(right[1])
    errors = wrong.errors
    found = []
    for row in errors[errors["index"].isin(indices)].itertuples(index=False):
        index, predicted = int(row.index), int(row.prediction)
        pair = (int(old[index]), predicted) if wrong is item.head else (predicted, int(new[index]))
        png = _png(images[index]) if index in images else None
        seeds = " → ".join(f"{(~side[:, index]).sum()}" + f" of {len(side)}" * differ for side in right)
        found.append(Digit(index, int(row.label), *pair, float(row.probability), seeds, png))
    return found


def _png(image: np.ndarray) -> bytes:
    """Encodes the image dark on light, as ink on paper."""
    stream = io.BytesIO()
    Image.fromarray(255 - image).save(stream, format="png")
    return stream.getvalue()
