"""Describes what a change did to an architecture, from predictions for the same test images."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.results import tables
from stages.results.predictions import Predictions
from tools.common.predictions import SAME_BYTES, describe_difference
from tools.common.statistics import Difference, accuracy_interval

MAJORITY = 0.5  # an image is fixed or broken if the share of seeds that get it right changes by more
DECIMALS = 6  # of probabilities, where the base's params.yaml has none
SAME_PREDICTIONS = "same predictions"
SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW, REMOVED = "new", "removed"


@dataclass(frozen=True)
class Change:
    """One architecture that is not compared.

    Attributes:
        name: of the architecture.
        base, head: its predictions on both sides.
        note: why they are not compared.
        broken: whether that is because a file cannot be read.
    """

    name: str
    base: Predictions | None
    head: Predictions | None
    note: str = ""
    broken: bool = False

    @property
    def changed(self) -> bool:
        """Whether there is anything to show."""
        return True

    @property
    def differs(self) -> bool:
        """Whether both sides are compared, and a prediction differs."""
        return False

    def verdict(self, confidence: float) -> str:
        """Returns the note."""
        return self.note

    def summary(self, confidence: float) -> str:
        """Sums the change up in a line: `cnn: 98.54 %, new`."""
        if self.note == REMOVED and self.base:
            return f"{self.name}: {REMOVED}, it had {percent(self.base.accuracy)}"
        return f"{self.name}: {f'{percent(self.head.accuracy)}, ' if self.head else ''}{self.note}"


@dataclass(frozen=True)
class Comparison(Change):
    """One architecture that is compared.

    Attributes:
        base, head: its predictions on both sides, for the same test images.
        difference: that of the mean accuracies, `None` if no prediction differs. Its p is adjusted for the `several`
            architectures whose predictions differ (Holm).
        several: the number of architectures whose predictions differ.
        decimals: of the recorded probabilities.
    """

    base: Predictions
    head: Predictions
    difference: Difference | None = None
    several: int = 0
    decimals: int = DECIMALS

    @property
    def changed(self) -> bool:
        """Whether a seed, a prediction or a probability differs."""
        return self.agreement != SAME_BYTES

    @property
    def differs(self) -> bool:
        """Whether a prediction differs."""
        return self.difference is not None

    @property
    def agreement(self) -> str:
        """How far the predictions agree, with counts."""
        return describe_difference(self.base, self.head, self.decimals)

    @property
    def gained(self) -> np.ndarray:
        """For each test image, the share of seeds that get it right, new minus old: (n,)."""
        return self.head.right.mean(axis=0) - self.base.right.mean(axis=0)

    @property
    def fixed(self) -> np.ndarray:
        """Indices of the test images that more than half of the seeds newly get right."""
        return np.flatnonzero(self.gained > MAJORITY)

    @property
    def broke(self) -> np.ndarray:
        """Indices of the test images that more than half of the seeds newly get wrong."""
        return np.flatnonzero(self.gained < -MAJORITY)

    @property
    def of_models(self) -> bool:
        """Whether two models are compared, not two recipes: each side has one seed."""
        return len(self.base.seeds) == len(self.head.seeds) == 1

    @property
    def has_other_seeds(self) -> bool:
        """Whether the sides have other seeds."""
        return self.base.seeds != self.head.seeds

    @property
    def seeds(self) -> str:
        """How many seeds are compared: `3 seeds`, `one seed`, `one seed → 3 seeds`."""
        return " → ".join(dict.fromkeys(side.several for side in (self.base, self.head)))

    @property
    def points(self) -> float:
        """New minus old mean accuracy, in percentage points."""
        return 100 * (self.head.accuracy - self.base.accuracy)

    def shown_points(self, confidence: float) -> str:
        """Formats the difference in percentage points, with its margin if it is of recipes: `+0.10 ± 0.15`."""
        shown = f"{self.points:+.2f}" if self.points else "0"
        if self.of_models or self.difference is None or math.isnan(self.difference.error):
            return shown
        return f"{shown} ± {100 * self.difference.margin(confidence):.2f}"

    @property
    def shown_p(self) -> str:
        """Formats the adjusted p with two digits; empty if no prediction differs."""
        if self.difference is None:
            return ""
        return "< 0.001" if self.difference.p < 0.001 else f"{self.difference.p:.2g}"

    def verdict(self, confidence: float) -> str:
        """Returns BETTER or WORSE if p is below 1 - confidence, else SAME; or how far the same predictions agree."""
        if self.difference is None:
            return self.agreement if self.changed else SAME_PREDICTIONS
        if self.difference.p >= 1 - confidence:
            return SAME
        return BETTER if self.points > 0 else WORSE

    def summary(self, confidence: float) -> str:
        """Sums the change up: `mlp_256: 97.81 % → 97.88 %, +0.07 ± 0.15 points (3 seeds), no evidence of a change`."""
        verdict = self.verdict(confidence)
        if not self.differs:
            return f"{self.name}: {percent(self.head.accuracy)}, {verdict}"
        shown = f"{self.shown_points(confidence)} points ({self.seeds})"
        if self.of_models:
            shown = f"fixed {len(self.fixed)}, broke {len(self.broke)}"
        return f"{self.name}: {percent(self.base.accuracy)} → {percent(self.head.accuracy)}, {shown}, {verdict}"

    def classes(self) -> pd.DataFrame:
        """Compares each class: images fixed and broken; images, errors, recall and precision, with `_base` and `_head`.

        The figures of a side are those of `stages.results.tables.class_figures`; errors are means over its seeds.
        """
        before, after = (
            _per_model(tables.class_figures(counts), len(side.seeds))
            for counts, side in zip(self._confusion(), (self.base, self.head), strict=True)
        )
        both = before.merge(after.drop(columns="images"), on="class", suffixes=("_base", "_head"))
        for column, images in (("fixed", self.fixed), ("broke", self.broke)):
            both[column] = np.bincount(self.head.label[images], minlength=len(both))
        return both

    def confusion_difference(self) -> pd.DataFrame:
        """Subtracts old from new confusion counts, per model, (classes, classes): row = label, column = prediction."""
        before, after = self._confusion()
        return after / len(self.head.seeds) - before / len(self.base.seeds)

    def _confusion(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        classes = max(self.base.classes, self.head.classes)
        before, after = (tables.confusion(side.label, side.prediction, classes) for side in (self.base, self.head))
        return before, after


def _per_model(figures: pd.DataFrame, models: int) -> pd.DataFrame:
    """Divides the counts of several models together by their number."""
    return figures.assign(images=figures["images"] // models, errors=figures["errors"] / models)


def percent(share: float) -> str:
    """Formats a share as `97.82 %`; NaN as `–`."""
    return "–" if math.isnan(share) else f"{100 * share:.2f} %"


def interval(predictions: Predictions, confidence: float) -> str:
    """Formats the interval around the mean accuracy, in percent: `[97.51, 98.09]`, or `no interval`."""
    low, high = accuracy_interval(predictions.right, confidence)
    return "no interval" if math.isnan(low) else f"[{100 * low:.2f}, {100 * high:.2f}]"
