"""Describes what a change did to each architecture, from predictions for the same test images."""

import math
from contextlib import suppress
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
DEFAULT_DECIMALS = 6  # of probabilities, where the base's params.yaml has none
SAME_PREDICTIONS = "same predictions"
SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW, REMOVED = "new", "removed"


@dataclass(frozen=True)
class Change:
    """One architecture that is not compared."""

    name: str
    base: Predictions | None
    head: Predictions | None
    note: str = ""  # why it is not compared
    broken: bool = False  # whether that is because a file cannot be read
    difference: Difference | None = None  # of the mean accuracies, if predictions differ; p is adjusted (Holm)

    @property
    def changed(self) -> bool:
        """Whether there is anything to show."""
        return True

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
    """One architecture that is compared, by predictions for the same test images."""

    base: Predictions
    head: Predictions
    several: int = 0  # architectures whose predictions differ, for which p is adjusted
    decimals: int = DEFAULT_DECIMALS  # of the recorded probabilities

    @property
    def changed(self) -> bool:
        """Whether a seed, a prediction or a probability differs."""
        return self.agreement != SAME_BYTES

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
    def names(self) -> list[int] | list[str]:
        """What the classes are called, in the side that has more of them; in the head if both have as many."""
        return max(self.head, self.base, key=lambda side: side.classes).names

    @property
    def has_other_seeds(self) -> bool:
        """Whether the sides have other seeds."""
        return self.base.seeds != self.head.seeds

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
        before, now = percent(self.base.accuracy), percent(self.head.accuracy)
        if self.difference is None:
            return f"{self.name}: {now}, {self.verdict(confidence)}"
        seeds = " → ".join(dict.fromkeys([self.base.several, self.head.several]))  # 3 seeds; or: one seed → 3 seeds
        shown = f"{self.shown_points(confidence)} points ({seeds})"
        if self.of_models:
            shown = f"fixed {len(self.fixed)}, broke {len(self.broke)}"
        return f"{self.name}: {before} → {now}, {shown}, {self.verdict(confidence)}"

    def classes(self) -> pd.DataFrame:
        """Compares each class: images fixed and broken; images, errors, recall and precision, with `_base` and `_head`.

        The figures of a side are those of `stages.results.tables.class_figures`; errors are means over its seeds.
        """
        before, after = (
            figures.assign(images=figures["images"] // len(side.seeds), errors=figures["errors"] / len(side.seeds))
            for figures, side in zip(map(tables.class_figures, self._confusion()), (self.base, self.head), strict=True)
        )
        both = before.merge(after.drop(columns="images"), on="class", suffixes=("_base", "_head"))
        for column, images in (("fixed", self.fixed), ("broke", self.broke)):
            both[column] = np.bincount(self.head.label[images], minlength=len(both))
        return both

    def confusion_difference(self) -> pd.DataFrame:
        """Subtracts old from new confusion counts, per model, (classes, classes): row = label, column = prediction."""
        before, after = self._confusion()
        return after / len(self.head.seeds) - before / len(self.base.seeds)

    def _confusion(self) -> list[pd.DataFrame]:
        return [tables.confusion(side.label, side.prediction, self.names) for side in (self.base, self.head)]


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
    sides = [side.read_json(results.DESCRIPTION) for side in (base, head)]
    if not all(isinstance(side, dict) for side in sides):
        return ""
    before, after = ((str(side.get("dataset"))[:100], str(side.get("sha256"))) for side in sides)
    if before == after:
        return ""
    return " → ".join(f"{name} (digest {digest[:12]}…)" for name, digest in (before, after))


def changes(base: Revision, head: Revision) -> list[Change]:
    """Compares all architectures in either side's params.yaml, by name; p is adjusted over those that differ."""
    before = after = set(architectures_of(base))
    other_data, decimals = "", DEFAULT_DECIMALS
    with suppress(PipelineError):  # of another version of this project
        decimals = base.section("evaluate", Evaluate).decimals
    try:
        after = set(architectures_of(head))
        other_data = data_change(base, head)
    except PipelineError:  # the review lists it; labels show whether the test images are the same
        pass
    items = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    differences = {item.name: item.difference for item in items if item.difference}
    adjusted = dict(zip(differences, holm([value.p for value in differences.values()]), strict=True))
    for index, item in enumerate(items):
        if isinstance(item, Comparison):
            with_p = item.difference and replace(item.difference, p=adjusted[item.name])
            items[index] = replace(item, difference=with_p, several=len(adjusted), decimals=decimals)
    return items


def _compare(name: str, base: Revision | None, head: Revision | None, other_data: str) -> Change:
    """Compares one architecture; a side is `None` if its params.yaml has no such architecture."""
    try:
        old = read_predictions(base, name) if base else None
        new = read_predictions(head, name) if head else None
    except PipelineError as error:
        return Change(name, None, None, f"not compared: {error}", broken=True)
    without = [str(side) for side, read in ((base, old), (head, new)) if side and read is None]
    if without:
        note = f"not compared: no predictions ({results.predictions(name)}) in {' or '.join(without)}"
    elif old is None or new is None:
        note = REMOVED if old else NEW
    elif other_data:
        note = "not compared: another data set"
    elif not np.array_equal(old.label, new.label):
        note = f"not compared: other test images (base {len(old.label):,}, now {len(new.label):,})"
    else:
        same = np.array_equal(old.prediction, new.prediction)
        return Comparison(name, old, new, difference=None if same else difference(old.right, new.right))
    return Change(name, old, new, note)
