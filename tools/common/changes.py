"""Tells what a change did to each architecture's trained model, from its predictions for the same test images."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from stages.common import tables
from stages.common.errors import PipelineError
from stages.common.params import ArchitectureName
from tools.common import results
from tools.common.predictions import Predictions
from tools.common.revision import Revision
from tools.common.statistics import holm, mcnemar, wilson_interval

SAME_PREDICTIONS = "same predictions"
OTHER_PROBABILITIES = "same predictions, other probabilities"
SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW, REMOVED = "new", "removed"


@dataclass(frozen=True)
class Change:
    """One architecture on both sides. `note` says why they are not compared; it is empty if they are.

    `p` is adjusted for the `several` architectures whose predictions differ (Holm).
    """

    name: str
    base: Predictions | None
    head: Predictions | None
    note: str = ""
    p: float = 1.0
    several: int = 0

    @property
    def changed(self) -> bool:
        """Whether a prediction or a probability differs, or the sides are not compared."""
        return bool(self.note) or not self.base.table.equals(self.head.table)

    @property
    def fixed(self) -> np.ndarray:
        """Indices of the test images that only the new model gets right."""
        return np.flatnonzero(self.head.right & ~self.base.right)

    @property
    def broke(self) -> np.ndarray:
        """Indices of the test images that only the old model gets right."""
        return np.flatnonzero(self.base.right & ~self.head.right)

    @property
    def differs(self) -> bool:
        """Whether both sides are compared, and a prediction differs."""
        return not self.note and not np.array_equal(self.base.prediction, self.head.prediction)

    @property
    def points(self) -> float:
        """New minus old accuracy, in percentage points."""
        return 100 * (self.head.accuracy - self.base.accuracy)

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
        return BETTER if len(self.fixed) > len(self.broke) else WORSE

    def summary(self, confidence: float) -> str:
        """Sums the change up: `mlp_256: 97.82 % → 97.92 %, fixed 34, broke 24, no evidence of a change`."""
        told = [self.verdict(confidence)]
        if self.note == REMOVED:
            told.append(f"it had {percent(self.base.accuracy)}")
        elif self.differs:
            accuracies = f"{percent(self.base.accuracy)} → {percent(self.head.accuracy)}"
            told = [accuracies, f"fixed {len(self.fixed)}", f"broke {len(self.broke)}", *told]
        elif self.head:
            told.insert(0, percent(self.head.accuracy))
        return f"{self.name}: {', '.join(told)}"

    def classes(self) -> pd.DataFrame:
        """Compares each class: images fixed and broken; images, errors, recall and precision, with `_base` and `_head`.

        The figures of a side are those of `stages.common.tables.class_figures`.
        """
        before, after = (tables.class_figures(counts) for counts in self._confusion())
        both = before.merge(after.drop(columns="images"), on="class", suffixes=("_base", "_head"))
        for column, found in (("fixed", self.fixed), ("broke", self.broke)):
            both[column] = np.bincount(self.head.label[found], minlength=len(both))
        return both

    def confusion_difference(self) -> pd.DataFrame:
        """Subtracts old from new confusion counts, int (classes, classes): row = label, column = prediction."""
        before, after = self._confusion()
        return after - before

    def _confusion(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        classes = 1 + max(column.max() for side in (self.base, self.head) for column in (side.label, side.prediction))
        return tables.confusion(self.base.table, classes), tables.confusion(self.head.table, classes)


def percent(share: float) -> str:
    """Formats a share as `97.82 %`."""
    return f"{100 * share:.2f} %"


def interval(predictions: Predictions, confidence: float) -> str:
    """Formats Wilson's interval around the accuracy, in percent: `[97.51, 98.09]`."""
    low, high = wilson_interval(int(predictions.right.sum()), len(predictions.right), confidence)
    return f"[{100 * low:.2f}, {100 * high:.2f}]"


def data_change(base: Revision, head: Revision) -> str:
    """Says how the data set differs, by data/raw/mnist.json; empty if it does not, or if a side does not say."""
    sides = [_described(revision.read_json(results.DESCRIPTION)) for revision in (base, head)]
    if None in sides or sides[0] == sides[1]:
        return ""
    return " → ".join(f"{dataset} (digest {digest[:12]}…)" for dataset, digest in sides)


def _described(description: Any) -> tuple[str, str] | None:
    if not isinstance(description, dict):
        return None
    return str(description.get("dataset")), str(description.get("sha256"))


def changes(base: Revision, head: Revision) -> list[Change]:
    """Compares every architecture in either side's params.yaml, by name; p is adjusted over those that differ."""
    before, after = (_names(revision) for revision in (base, head))
    other_data = data_change(base, head)
    found = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    differing = [item for item in found if item.differs and len(item.fixed) + len(item.broke)]
    adjusted = holm([mcnemar(len(item.fixed), len(item.broke)) for item in differing])
    by_name = {item.name: p for item, p in zip(differing, adjusted, strict=True)}
    return [replace(item, p=by_name.get(item.name, 1.0), several=len(differing)) for item in found]


def _names(revision: Revision) -> set[str]:
    names = set(revision.params().get("architectures") or ())
    try:
        return TypeAdapter(set[ArchitectureName]).validate_python(names)
    except ValidationError as error:
        found = error.errors()[0]["input"]
        raise PipelineError(f"params.yaml in {revision}: architectures: not a valid name: {found!r}") from error


def _compare(name: str, base: Revision | None, head: Revision | None, other_data: str) -> Change:
    """Compares one architecture; a side is `None` if its params.yaml has no such architecture."""
    try:
        old, new = (revision and Predictions.read(revision, name) for revision in (base, head))
    except PipelineError as error:
        return Change(name, None, None, f"not compared: {error}")
    without = [str(revision) for revision, found in ((base, old), (head, new)) if revision and found is None]
    if without:
        note = f"not compared: no predictions ({results.predictions(name)}) in {' and '.join(without)}"
    elif base is None:
        note = NEW
    elif head is None:
        note = REMOVED
    elif other_data:
        note = "not compared: another data set"
    elif not np.array_equal(old.label, new.label):
        note = f"not compared: other test images (base {len(old.label):,}, now {len(new.label):,})"
    else:
        note = ""
    return Change(name, old, new, note)
