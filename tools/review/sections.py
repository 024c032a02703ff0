"""What a review shows of one changed architecture: digits, classes, confusion, training."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from tools.common import results
from tools.common.changes import NEW, Change
from tools.common.predictions import Predictions
from tools.common.revision import Revision
from tools.review.content import Review
from tools.review.error_images import error_images

HISTORY_COLUMNS = {"epoch", "split", "metric", "value"}
Images = dict[int, np.ndarray]  # by index in the test set, uint8 (height, width)


@dataclass(frozen=True)
class Digit:
    """A test image whose prediction became right or wrong; `probability` is that of the wrong prediction."""

    index: int
    label: int
    old: int
    new: int
    probability: float
    png: bytes | None

    @property
    def wrong(self) -> int:
        """The prediction that is wrong, the old or the new one."""
        return self.old if self.new == self.label else self.new


@dataclass(frozen=True)
class Training:
    """How one side's training went: columns epoch, split, metric, value; and train minus validation accuracy."""

    history: pd.DataFrame | None
    gap: float | None

    @classmethod
    def read(cls, revision: Revision, name: str) -> "Training":
        """`None` stands for what is not there or not readable."""
        content, metrics = revision.read(results.history(name)), revision.read_json(results.metrics(name))
        try:
            history = pd.read_csv(io.BytesIO(content or b""))
        except ValueError:  # pandas' errors of empty and damaged files, and of their encoding, are ValueErrors
            history = pd.DataFrame()
        gap = metrics.get("train_validation_gap") if isinstance(metrics, dict) else None
        return cls(history if set(history) >= HISTORY_COLUMNS else None, gap if isinstance(gap, float) else None)


@dataclass(frozen=True)
class Section:
    """One architecture: newly wrong and newly right digits, the surest wrong prediction first, and the training.

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
    """Those of the changed architectures that can be shown; and which pictures are missing, a line each."""
    images, missing = _images(review)
    return [_section(item, review, images) for item in review.changed if not item.note or item.note == NEW], missing


def _images(review: Review) -> tuple[Images, list[str]]:
    """Test images from both sides; none if the data set is another."""
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
    """The digits at `indices`, of which `wrong` are the wrong predictions, the surest first."""
    return [
        Digit(
            int(index),
            int(wrong.label[index]),
            int(item.base.prediction[index]),
            int(item.head.prediction[index]),
            float(wrong.probability[index]),
            _png(images[index]) if index in images else None,
        )
        for index in indices[np.argsort(-wrong.probability[indices], kind="stable")]
    ]


def _png(image: np.ndarray) -> bytes:
    """The image dark on light, as one writes."""
    stream = io.BytesIO()
    Image.fromarray(255 - image).save(stream, format="png")
    return stream.getvalue()
