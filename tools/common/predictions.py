"""Reads the predictions of an architecture's models from a revision, and describes how those of two differ."""

from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from stages.support.notation import found_value
from stages.support.params import MOST_MODELS, ArchitectureName
from tools.common import results
from tools.common.revision import Revision

NAMES = TypeAdapter(dict[ArchitectureName, Any])
SAME_BYTES = "same bytes"
SAME_WITHIN_ROUNDING = "same within rounding"
OTHER_PROBABILITIES = "same predictions, other probabilities"


def read_predictions(revision: Revision, name: str) -> Predictions | None:
    """Reads the predictions of an architecture; `None` if there are none.

    Raises `PipelineError` if the file is not what evaluate writes.
    """
    path = results.predictions(name)
    content = revision.read(path)
    return None if content is None else Predictions.parse(content, name, f"{path} in {revision}")


def architectures_of(revision: Revision) -> dict[str, Any]:
    """Reads the architectures in the revision's params.yaml, by name.

    Raises `PipelineError` if they cannot be read, or are more than params.yaml may have.
    """
    where = f"params.yaml in {revision}: architectures"
    try:
        architectures = NAMES.validate_python(revision.params().get("architectures") or {})
    except ValidationError as error:
        raise PipelineError(f"{where}: not a valid name: {found_value(error.errors()[0]['input'])}") from error
    if len(architectures) > MOST_MODELS:
        raise PipelineError(f"{where}: expected at most {MOST_MODELS:,}, found more")
    return architectures


def describe_difference(before: Predictions, after: Predictions, decimals: int) -> str:
    """Describes how much two sides' predictions differ, with counts over all seeds and test images.

    Probabilities were recorded with `decimals` decimals. One unit of the last one is rounding.
    """
    if not np.array_equal(before.label, after.label):
        return "other test images: not compared"
    if before.seeds != after.seeds:
        return "other seeds: not compared"
    differing = int((before.prediction != after.prediction).sum())
    if differing:
        return f"{differing:,} of {before.prediction.size:,} predictions differ"
    change = float(np.abs(before.probability - after.probability).max())
    if not change:
        return SAME_BYTES
    rounding = round(change, decimals) <= 10**-decimals
    counts = f"all {before.prediction.size:,} predictions are the same, probabilities differ by {change:.{decimals}f}"
    return f"{SAME_WITHIN_ROUNDING if rounding else OTHER_PROBABILITIES} ({counts} at most)"
