"""Reads the predictions of an architecture's models, or of an ensemble, from a revision."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError
from scipy.stats import mode

from stages.common import tables
from stages.common.errors import PipelineError
from stages.common.evaluation import Columns
from stages.common.json import read_as
from stages.common.notation import found_value
from stages.common.params import MOST_MODELS, ArchitectureName, Seed
from tools.common import results
from tools.common.revision import Revision

NAMES, SEEDS = TypeAdapter(set[ArchitectureName]), TypeAdapter(list[Seed])


@dataclass(frozen=True)
class Predictions:
    """The predictions of each seed's model for the test images, in their order.

    Attributes:
        seeds: sorted; empty for an ensemble, which has one row of predictions.
        label: classes (n,).
        prediction, probability: classes, and the probabilities of these, (seeds, n).
    """

    seeds: tuple[int, ...]
    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray

    @classmethod
    def read(
        cls, revision: Revision, name: str, seeds: tuple[int, ...] | None = None, params: Revision | None = None
    ) -> "Predictions | None":
        """Reads them for these seeds, by default all of the revision; `None` if there are none.

        `params` is the revision whose params.yaml says what is an ensemble, and the seeds; by default the same one.
        Raises `PipelineError` if a file is not what evaluate writes, or if there are files for some seeds only.
        """
        params = params or revision
        if name in section(params, "ensembles"):
            seeds, paths = (), [results.ensemble(name)]
        else:
            seeds = seeds or seeds_of(params)
            paths = [results.evaluation(name, seed) for seed in seeds]
        contents = [revision.read(path) for path in paths]
        if len(seeds) == 1 and contents == [None]:
            paths = [results.PLOTS / "predictions" / f"{name}.json"]  # written before train.seeds existed
            contents = [revision.read(paths[0])]
        if all(content is None for content in contents):
            return None
        models = [_model(content, f"{path} in {revision}") for content, path in zip(contents, paths, strict=True)]
        label = models[0][0]
        for model, path in zip(models, paths, strict=True):
            if not np.array_equal(model[0], label):
                raise PipelineError(f"{path} in {revision}: expected the labels of {paths[0]}, found others")
        return cls(seeds, label, *(np.stack([model[column] for model in models]) for column in (1, 2)))

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, bool (seeds, n)."""
        return self.label == self.prediction

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return float(self.right.mean())

    @property
    def several(self) -> str:
        """The number of seeds: `3 seeds`, `one seed`."""
        return f"{len(self.prediction)} seeds" if len(self.prediction) > 1 else "one seed"

    @cached_property
    def errors(self) -> pd.DataFrame:
        """The images that a seed gets wrong, as `stages.common.tables.errors`."""
        return tables.errors(self.label, self.prediction, self.probability)

    @property
    def most_common(self) -> np.ndarray:
        """The prediction that most seeds give, (n,); the smallest class of those that tie."""
        return mode(self.prediction, axis=0).mode

    def equals(self, other: "Predictions") -> bool:
        """Whether seeds, labels, predictions and probabilities are the same."""
        return self.seeds == other.seeds and all(
            np.array_equal(getattr(self, key), getattr(other, key)) for key in ("label", "prediction", "probability")
        )


def section(revision: Revision, key: str) -> dict[str, Any]:
    """A section of the revision's params.yaml whose keys are names; {} if it has none."""
    found = revision.params().get(key) or {}
    try:
        NAMES.validate_python(set(found))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0]["input"] if isinstance(error, ValidationError) else found
        raise PipelineError(f"params.yaml in {revision}: {key}: not a valid name: {found_value(first)}") from error
    return found if isinstance(found, dict) else dict.fromkeys(found)


def names_of(revision: Revision) -> list[str]:
    """The architectures and ensembles in the revision's params.yaml.

    Raises `PipelineError` if they cannot be read, or have more models than params.yaml may ask for.
    """
    names = [*section(revision, "architectures"), *section(revision, "ensembles")]
    if len(names) > MOST_MODELS or len(names) * len(seeds_of(revision)) > MOST_MODELS:
        raise PipelineError(f"params.yaml in {revision}: expected at most {MOST_MODELS:,} models, found more")
    return names


def seeds_of(revision: Revision) -> tuple[int, ...]:
    """The seeds in the revision's params.yaml, sorted; before there was `train.seeds`, the one of `train.seed`."""
    train = revision.params().get("train") or {}
    try:
        found = train["seeds"] if "seeds" in train else [train["seed"]]
        return tuple(sorted(set(SEEDS.validate_python(found))))
    except (ValidationError, LookupError, TypeError, AttributeError) as error:
        raise PipelineError(f"params.yaml in {revision}: train.seeds: expected a list of integers") from error


def _model(content: bytes | None, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, prediction and probability of each image, (n,), from a file that evaluate wrote, now or formerly."""
    if content is None:
        raise PipelineError(f"{where}: no such file")
    return read_as(Columns, content, where).arrays(where)


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
