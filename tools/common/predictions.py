"""Reads the predictions of an architecture's models from a revision, and says how those of two differ."""

from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from stages.support.notation import found_value
from stages.support.params import MOST_MODELS, ArchitectureName
from tools.common import results
from tools.common.revision import Revision

NAMES = TypeAdapter(set[ArchitectureName])


def read_predictions(revision: Revision, name: str) -> Predictions | None:
    """Reads the predictions of an architecture; `None` if there are none.

    Raises `PipelineError` if the file is not what evaluate writes.
    """
    path = results.predictions(name)
    content = revision.read(path)
    return None if content is None else Predictions.parse(content, name, f"{path} in {revision}")


def architectures_of(revision: Revision) -> dict[str, Any]:
    """The architectures in the revision's params.yaml, by name.

    Raises `PipelineError` if they cannot be read, or are more than params.yaml may have.
    """
    found = revision.params().get("architectures") or {}
    try:
        NAMES.validate_python(set(found))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0]["input"] if isinstance(error, ValidationError) else found
        where = f"params.yaml in {revision}: architectures"
        raise PipelineError(f"{where}: not a valid name: {found_value(first)}") from error
    if len(found) > MOST_MODELS:
        raise PipelineError(f"params.yaml in {revision}: expected at most {MOST_MODELS:,} architectures, found more")
    return found if isinstance(found, dict) else dict.fromkeys(found)


def agreement(before: Predictions, after: Predictions) -> tuple[np.ndarray, float]:
    """Says which predictions are the same, bool (seeds, n); and by how much, at most, the probability of these changed.

    Both sides must have the same labels and seeds.
    """
    agree = before.prediction == after.prediction
    return agree, float(np.abs(before.probability - after.probability)[agree].max(initial=0))


def describe_difference(before: Predictions, after: Predictions, decimals: int) -> str:
    """Says how much two sides' predictions differ; their probabilities were recorded with `decimals` decimals."""
    if not np.array_equal(before.label, after.label):
        return "other test images: not compared"
    if before.seeds != after.seeds:
        return "other seeds: not compared"
    agree, change = agreement(before, after)
    if not agree.all():
        return f"{agree.size - agree.sum():,} of {agree.size:,} predictions differ"
    if not change:
        return "same bytes"
    return (
        "same within rounding" if round(change, decimals) <= 10**-decimals else "same predictions, other probabilities"
    )
