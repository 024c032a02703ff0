"""Tells what a change did to each architecture, from predictions for the same test images."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from stages.results import tables
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from tools.common import results
from tools.common.predictions import architectures_of, read_predictions
from tools.common.revision import Revision
from tools.common.statistics import Difference, accuracy_interval, difference, holm

NET = 0.5  # an image is fixed or broken if the share of seeds that get it right changes by more
SAME_PREDICTIONS = "same predictions"
OTHER_PROBABILITIES = "same predictions, other probabilities"
SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW, REMOVED = "new", "removed"


@dataclass(frozen=True)
class Change:
    """One architecture on both sides. `note` says why they are not compared; it is empty if they are.

    `broken` says so if it is because a file cannot be read.
    `difference` is that of the mean accuracies, `None` if no prediction differs. Its p is adjusted for the `several`
    architectures whose predictions differ (Holm).
    """

    name: str
    base: Predictions | None
    head: Predictions | None
    note: str = ""
    broken: bool = False
    difference: Difference | None = None
    several: int = 0

    @property
    def changed(self) -> bool:
        """Whether a seed, a prediction or a probability differs, or the sides are not compared."""
        return bool(self.note) or not _same(self.base, self.head)

    @property
    def gained(self) -> np.ndarray:
        """For each test image, the share of seeds that get it right, new minus old: (n,)."""
        return self.head.right.mean(axis=0) - self.base.right.mean(axis=0)

    @property
    def fixed(self) -> np.ndarray:
        """Indices of the test images that more than half of the seeds newly get right."""
        return np.flatnonzero(self.gained > NET)

    @property
    def broke(self) -> np.ndarray:
        """Indices of the test images that more than half of the seeds newly get wrong."""
        return np.flatnonzero(self.gained < -NET)

    @property
    def differs(self) -> bool:
        """Whether both sides are compared, and a prediction differs."""
        return self.difference is not None

    @property
    def of_models(self) -> bool:
        """Whether two models are compared, not two recipes: each side has one."""
        return not self.note and len(self.base.prediction) == len(self.head.prediction) == 1

    @property
    def seeds(self) -> str:
        """How many seeds are compared: `3 seeds`, `one seed`, `one seed → 3 seeds`."""
        sides = [side.several for side in (self.base, self.head) if side]
        return " → ".join(dict.fromkeys(sides))

    @property
    def points(self) -> float:
        """New minus old mean accuracy, in percentage points."""
        return 100 * (self.head.accuracy - self.base.accuracy)

    def shown_points(self, confidence: float) -> str:
        """The difference in percentage points, with its margin if it is of recipes: `+0.10 ± 0.15`."""
        shown = f"{self.points:+.2f}" if self.points else "0"
        if self.of_models or not self.differs or math.isnan(self.difference.error):
            return shown
        return f"{shown} ± {self.margin(confidence):.2f}"

    def margin(self, confidence: float) -> float:
        """Percentage points below which a difference cannot be told from chance."""
        return 100 * self.difference.margin(confidence)

    @property
    def p(self) -> float:
        return self.difference.p if self.difference else 1.0

    @property
    def shown_p(self) -> str:
        """The adjusted p with two digits."""
        return "< 0.001" if self.p < 0.001 else f"{self.p:.2g}"

    def verdict(self, confidence: float) -> str:
        """The note if there is one; BETTER or WORSE if p is below 1 - confidence; else that nothing shows a change."""
        if self.note:
            return self.note
        if not self.differs:
            return OTHER_PROBABILITIES if self.changed else SAME_PREDICTIONS
        if self.p >= 1 - confidence:
            return SAME
        return BETTER if self.points > 0 else WORSE

    def summary(self, confidence: float) -> str:
        """Sums the change up: `mlp_256: 97.81 % → 97.88 %, +0.07 ± 0.15 points (3 seeds), no evidence of a change`."""
        told = [self.verdict(confidence)]
        if self.note == REMOVED:
            told.append(f"it had {percent(self.base.accuracy)}")
        elif self.differs:
            accuracies = f"{percent(self.base.accuracy)} → {percent(self.head.accuracy)}"
            if self.of_models:
                told = [accuracies, f"fixed {len(self.fixed)}", f"broke {len(self.broke)}", *told]
            else:
                told = [accuracies, f"{self.shown_points(confidence)} points ({self.seeds})", *told]
        elif self.head:
            told.insert(0, percent(self.head.accuracy))
        return f"{self.name}: {', '.join(told)}"

    def classes(self) -> pd.DataFrame:
        """Compares each class: images fixed and broken; images, errors, recall and precision, with `_base` and `_head`.

        The figures of a side are those of `stages.results.tables.class_figures`; errors are means over its seeds.
        """
        before, after = (
            _per_model(tables.class_figures(counts), len(side.prediction))
            for counts, side in zip(self._confusion(), (self.base, self.head), strict=True)
        )
        both = before.merge(after.drop(columns="images"), on="class", suffixes=("_base", "_head"))
        for column, found in (("fixed", self.fixed), ("broke", self.broke)):
            both[column] = np.bincount(self.head.label[found], minlength=len(both))
        return both

    def confusion_difference(self) -> pd.DataFrame:
        """Subtracts old from new confusion counts, per model, (classes, classes): row = label, column = prediction."""
        before, after = self._confusion()
        return after / len(self.head.prediction) - before / len(self.base.prediction)

    def _confusion(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        classes = max(self.base.classes, self.head.classes)
        return tuple(tables.confusion(side.label, side.prediction, classes) for side in (self.base, self.head))


def _per_model(figures: pd.DataFrame, models: int) -> pd.DataFrame:
    """Divides the counts of several models together."""
    return figures.assign(images=figures["images"] // models, errors=figures["errors"] / models)


def percent(share: float) -> str:
    """Formats a share as `97.82 %`; NaN as `–`."""
    return "–" if math.isnan(share) else f"{100 * share:.2f} %"


def interval(predictions: Predictions, confidence: float) -> str:
    """Formats the interval around the mean accuracy, in percent: `[97.51, 98.09]`, or `no interval`."""
    low, high = accuracy_interval(predictions.right, confidence)
    return "no interval" if math.isnan(low) else f"[{100 * low:.2f}, {100 * high:.2f}]"


def data_change(base: Revision, head: Revision) -> str:
    """Says how the data set differs, by data/raw/mnist.json; empty if it does not, or if a side does not say."""
    sides = [_described(revision.read_json(results.DESCRIPTION)) for revision in (base, head)]
    if None in sides or sides[0] == sides[1]:
        return ""
    return " → ".join(f"{dataset} (digest {digest[:12]}…)" for dataset, digest in sides)


def _described(description: Any) -> tuple[str, str] | None:
    if not isinstance(description, dict):
        return None
    return str(description.get("dataset"))[:100], str(description.get("sha256"))


def changes(base: Revision, head: Revision) -> list[Change]:
    """Compares all that is in either side's params.yaml, by name; p is adjusted over those that differ."""
    before = set(architectures_of(base))
    try:
        after = set(architectures_of(head))
    except PipelineError:  # the review says so elsewhere
        after = before
    try:
        other_data = data_change(base, head)
    except PipelineError:  # then the labels of the test images tell
        other_data = ""
    found = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    differing = [index for index, item in enumerate(found) if item.differs]
    adjusted = holm([found[index].p for index in differing])
    for index, p in zip(differing, adjusted, strict=True):
        found[index] = replace(found[index], difference=replace(found[index].difference, p=p))
    return [replace(item, several=len(differing)) for item in found]


def _compare(name: str, base: Revision | None, head: Revision | None, other_data: str) -> Change:
    """Compares one architecture; a side is `None` if its params.yaml has no such architecture."""
    try:
        old, new = base and read_predictions(base, name), head and read_predictions(head, name)
        without = [side for side, found in ((base, old), (head, new)) if side and found is None]
        missing = "; ".join(_missing(side, name) for side in without)
    except PipelineError as error:
        return Change(name, None, None, f"not compared: {error}", broken=True)
    if missing:
        note = f"not compared: {missing}"
    elif base is None:
        note = NEW
    elif head is None:
        note = REMOVED
    elif other_data:
        note = "not compared: another data set"
    elif not np.array_equal(old.label, new.label):
        note = f"not compared: other test images (base {len(old.label):,}, now {len(new.label):,})"
    elif np.array_equal(old.prediction, new.prediction):
        return Change(name, old, new)
    else:
        return Change(name, old, new, difference=difference(old.right, new.right))
    return Change(name, old, new, note)


def _missing(revision: Revision, name: str) -> str:
    """Says why a revision has no predictions. In older layouts, the data set's name in the metrics was no list."""
    path, metrics = results.predictions(name), revision.read_json(results.metrics(name))
    if isinstance(metrics, dict) and isinstance(metrics.get("dataset"), str):
        return f"{revision} has results in an older layout, without {path}"
    return f"no predictions ({path}) in {revision}"


def _same(old: Predictions, new: Predictions) -> bool:
    """Whether seeds, labels, predictions and probabilities are the same."""
    keys = ("label", "prediction", "probability")
    return old.seeds == new.seeds and all(np.array_equal(getattr(old, key), getattr(new, key)) for key in keys)
