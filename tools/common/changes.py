"""Compares all architectures of two revisions, from predictions for the same test images."""

from dataclasses import replace

import numpy as np

from stages.support.errors import PipelineError
from stages.support.params import Evaluate
from tools.common import results
from tools.common.change import DECIMALS, NEW, REMOVED, Change, Comparison
from tools.common.predictions import architectures_of, read_predictions
from tools.common.revision import Revision
from tools.common.statistics import difference, holm


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
    items = [
        _compare(name, base if name in before else None, head if name in after else None, other_data)
        for name in sorted(before | after)
    ]
    values = {item.name: item.difference.p for item in items if isinstance(item, Comparison) and item.difference}
    adjusted = dict(zip(values, holm(list(values.values())), strict=True))
    decimals = _decimals(base)
    for index, item in enumerate(items):
        if isinstance(item, Comparison):
            with_p = item.difference and replace(item.difference, p=adjusted[item.name])
            items[index] = replace(item, difference=with_p, several=len(values), decimals=decimals)
    return items


def _decimals(side: Revision) -> int:
    try:
        return Evaluate.model_validate(side.params()["evaluate"]).decimals
    except (PipelineError, LookupError, ValueError):
        return DECIMALS


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
