"""What a change did to each architecture's trained model, told by the predictions for the same test images."""

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

SAME = "no evidence of a change"
BETTER, WORSE = "evidence of a change for the better", "evidence of a change for the worse"
NEW = "new"


@dataclass(frozen=True)
class Change:
    """One architecture on both sides. `note` says why nothing is compared; it is empty if both are.

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
        """Whether there is anything to tell: a prediction or a probability differs, or nothing can be compared."""
        return bool(self.note) or not self.base.table.equals(self.head.table)

    @property
    def fixed(self) -> np.ndarray:
        """Indices of the test images that only the new model reads right."""
        return np.flatnonzero(self.head.right & ~self.base.right)

    @property
    def broke(self) -> np.ndarray:
        """Indices of the test images that only the old model reads right."""
        return np.flatnonzero(self.base.right & ~self.head.right)

    def verdict(self, confidence: float) -> str:
        """BETTER or WORSE where p is below 1 - confidence, else SAME."""
        if self.note or self.p >= 1 - confidence:
            return SAME
        return BETTER if len(self.fixed) > len(self.broke) else WORSE

    def headline(self, confidence: float) -> str:
        """What happened, as a person would say it, with Wilson's interval around the new accuracy."""
        told = [_accuracy(self.head, confidence)] if self.head else []
        if self.note:
            told.append(self.note)
        elif (self.base.prediction == self.head.prediction).all():
            told.append("every prediction as in base, other probabilities")
        else:
            p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
            holm_over = f" (Holm over {self.several})" if self.several > 1 else ""
            told.append(f"base {100 * self.base.accuracy:.2f} %")
            told.append(f"fixed {len(self.fixed)}, broke {len(self.broke)}")
            told.append(f"{p}{holm_over}: {self.verdict(confidence)} (one seed)")
        return f"{self.name}: {' · '.join(told)}"

    def classes(self) -> pd.DataFrame:
        """For each label: images, errors in base and in head, and images fixed and broken."""
        right = pd.DataFrame({"class": self.head.label, "base": self.base.right, "head": self.head.right})
        rows = right.assign(
            images=1,
            base_errors=~right["base"],
            head_errors=~right["head"],
            fixed=right["head"] & ~right["base"],
            broke=right["base"] & ~right["head"],
        )
        return rows.drop(columns=["base", "head"]).groupby("class", as_index=False).sum()

    def confusion_difference(self) -> pd.DataFrame:
        """New minus old confusion counts, int (classes, classes): row = label, column = prediction."""
        classes = 1 + max(column.max() for side in (self.base, self.head) for column in (side.label, side.prediction))
        before, after = (tables.confusion(side.table, classes) for side in (self.base, self.head))
        return after - before


def _accuracy(predictions: Predictions, confidence: float) -> str:
    low, high = wilson_interval(int(predictions.right.sum()), len(predictions.right), confidence)
    return f"{100 * predictions.accuracy:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def data_change(base: Revision, head: Revision) -> str:
    """How the data set differs, from data/raw/mnist.json on both sides; empty if it does not, or one does not say."""
    sides = [_described(revision.read_json(results.DESCRIPTION)) for revision in (base, head)]
    if None in sides or sides[0] == sides[1]:
        return ""
    return " → ".join(f"{dataset} (digest {digest[:12]}…)" for dataset, digest in sides)


def _described(description: Any) -> tuple[str, str] | None:
    if not isinstance(description, dict):
        return None
    return str(description.get("dataset")), str(description.get("sha256"))


def changes(base: Revision, head: Revision) -> list[Change]:
    """Every architecture in either side's params.yaml, by name, with p adjusted over those that differ."""
    before, after = (_names(revision) for revision in (base, head))
    other_data = data_change(base, head)
    found = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    differing = [item for item in found if not item.note and len(item.fixed) + len(item.broke)]
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
    """`None` for a side whose params.yaml has no such architecture."""
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
        note = f"removed; it had {100 * old.accuracy:.2f} %"
    elif other_data:
        note = "not compared: another data set"
    elif not np.array_equal(old.label, new.label):
        note = f"not compared: other test images (base {len(old.label):,}, now {len(new.label):,})"
    else:
        note = ""
    return Change(name, old, new, note)
