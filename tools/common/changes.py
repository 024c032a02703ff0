"""Compares each architecture on both sides of a change, from predictions for the same test images."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from stages.results import tables
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from stages.support.params import Evaluate
from tools.common import results
from tools.common.predictions import SAME_BYTES, architectures_of, describe_difference, read_predictions
from tools.common.revision import Revision
from tools.common.statistics import Difference, accuracy_interval, difference, holm

MAJORITY = 0.5  # an image is fixed or broken if the share of seeds that get it right changes by more
DECIMALS = 6  # of probabilities, where the base's params.yaml has none
SAME_PREDICTIONS = "same predictions"
SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW, REMOVED = "new", "removed"


@dataclass(frozen=True)
class Change:
    """One architecture in the base and in the head.

    Attributes:
        name: of the architecture.
        base, head: its predictions on both sides.
        note: why they are not compared; empty if they are.
        broken: whether they are not compared because a file cannot be read.
        difference: that of the mean accuracies, `None` if no prediction differs. Its p is adjusted for the `several`
            architectures whose predictions differ (Holm).
        several: the number of architectures whose predictions differ.
        decimals: of the recorded probabilities.
    """

    name: str
    base: Predictions | None
    head: Predictions | None
    note: str = ""
    broken: bool = False
    difference: Difference | None = None
    several: int = 0
    decimals: int = DECIMALS

    @property
    def changed(self) -> bool:
        """Whether a seed, a prediction or a probability differs, or the sides are not compared."""
        return bool(self.note) or self.agreement != SAME_BYTES

    @property
    def agreement(self) -> str:
        """How far the predictions agree, with counts; for sides that are compared."""
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
    def differs(self) -> bool:
        """Whether both sides are compared, and a prediction differs."""
        return self.difference is not None

    @property
    def of_models(self) -> bool:
        """Whether two models are compared, not two recipes: each side has one seed."""
        return not self.note and len(self.base.seeds) == len(self.head.seeds) == 1

    @property
    def seeds(self) -> str:
        """How many seeds are compared: `3 seeds`, `one seed`, `one seed → 3 seeds`."""
        return " → ".join(dict.fromkeys(side.several for side in (self.base, self.head) if side))

    @property
    def points(self) -> float:
        """New minus old mean accuracy, in percentage points."""
        return 100 * (self.head.accuracy - self.base.accuracy)

    def shown_points(self, confidence: float) -> str:
        """Formats the difference in percentage points, with its margin if it is of recipes: `+0.10 ± 0.15`."""
        shown = f"{self.points:+.2f}" if self.points else "0"
        if self.of_models or not self.differs or math.isnan(self.difference.error):
            return shown
        return f"{shown} ± {100 * self.difference.margin(confidence):.2f}"

    @property
    def shown_p(self) -> str:
        """Formats the adjusted p with two digits; empty if no prediction differs."""
        if not self.differs:
            return ""
        return "< 0.001" if self.difference.p < 0.001 else f"{self.difference.p:.2g}"

    def verdict(self, confidence: float) -> str:
        """Returns the note if there is one; else BETTER or WORSE if p is below 1 - confidence; else SAME."""
        if self.note:
            return self.note
        if not self.differs:
            return self.agreement if self.changed else SAME_PREDICTIONS
        if self.difference.p >= 1 - confidence:
            return SAME
        return BETTER if self.points > 0 else WORSE

    def summary(self, confidence: float) -> str:
        """Sums the change up: `mlp_256: 97.81 % → 97.88 %, +0.07 ± 0.15 points (3 seeds), no evidence of a change`."""
        parts = [self.verdict(confidence)]
        if self.note == REMOVED:
            parts.append(f"it had {percent(self.base.accuracy)}")
        elif self.differs:
            shown = f"{self.shown_points(confidence)} points ({self.seeds})"
            if self.of_models:
                shown = f"fixed {len(self.fixed)}, broke {len(self.broke)}"
            parts = [f"{percent(self.base.accuracy)} → {percent(self.head.accuracy)}", shown, *parts]
        elif self.head:
            parts.insert(0, percent(self.head.accuracy))
        return f"{self.name}: {', '.join(parts)}"

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
        return tuple(tables.confusion(side.label, side.prediction, classes) for side in (self.base, self.head))


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


def data_change(base: Revision, head: Revision) -> str:
    """Describes how the data set differs, by data/raw/mnist.json; empty if it does not, or if a side has no such file.

    Raises `PipelineError` if one cannot be read.
    """
    described = [side.read_json(results.DESCRIPTION) for side in (base, head)]
    if not all(isinstance(description, dict) for description in described):
        return ""
    names = [(str(each.get("dataset"))[:100], str(each.get("sha256"))) for each in described]
    return "" if names[0] == names[1] else " → ".join(f"{name} (digest {digest[:12]}…)" for name, digest in names)


def changes(base: Revision, head: Revision) -> list[Change]:
    """Compares all architectures in either side's params.yaml, by name; p is adjusted over those that differ."""
    before = after = set(architectures_of(base))
    other_data = ""
    try:
        after = set(architectures_of(head))
        other_data = data_change(base, head)
    except PipelineError:  # the review lists it; labels show whether the test images are the same
        pass
    compared = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    differing = [item for item in compared if item.differs]
    adjusted = dict(
        zip((item.name for item in differing), holm([item.difference.p for item in differing]), strict=True)
    )
    decimals = _decimals(base)
    return [
        replace(
            item,
            several=len(differing),
            decimals=decimals,
            difference=item.difference and replace(item.difference, p=adjusted[item.name]),
        )
        for item in compared
    ]


def _decimals(side: Revision) -> int:
    try:
        return Evaluate.model_validate(side.params()["evaluate"]).decimals
    except (PipelineError, LookupError, ValueError):
        return DECIMALS


def _compare(name: str, base: Revision | None, head: Revision | None, other_data: str) -> Change:
    """Compares one architecture; a side is `None` if its params.yaml has no such architecture."""
    try:
        old, new = base and read_predictions(base, name), head and read_predictions(head, name)
    except PipelineError as error:
        return Change(name, None, None, f"not compared: {error}", broken=True)
    without = [str(side) for side, read in ((base, old), (head, new)) if side and read is None]
    if without:
        note = f"not compared: no predictions ({results.predictions(name)}) in {' or '.join(without)}"
    elif base is None or head is None:
        note = REMOVED if base else NEW
    elif other_data:
        note = "not compared: another data set"
    elif not np.array_equal(old.label, new.label):
        note = f"not compared: other test images (base {len(old.label):,}, now {len(new.label):,})"
    else:
        same = np.array_equal(old.prediction, new.prediction)
        return Change(name, old, new, difference=None if same else difference(old.right, new.right))
    return Change(name, old, new, note)
