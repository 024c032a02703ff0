"""Compares the architectures by their metrics, and gives the tables that git holds of a revision."""

import contextlib
import functools
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import FiniteFloat

from stages.data.archive import Description
from stages.results.predictions import Predictions
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError, unreadable
from stages.support.json import read_as
from stages.support.params import Overview
from tools.common import results
from tools.common.predictions import architectures_of
from tools.common.revision import WORKSPACE, Revision
from tools.common.statistics import accuracy_interval

T = TypeVar("T")
MAX_COLUMNS = 50
COUNTS = {"seeds": "Int64"}  # the column of a history that some have; integers, or nothing


@dataclass(frozen=True)
class Metrics:
    """What evaluate records of an architecture; what is NaN is not recorded of each."""

    dataset: tuple[str]
    accuracy: FiniteFloat
    loss: FiniteFloat
    errors: int | FiniteFloat
    parameters: int
    accuracy_sd: FiniteFloat = math.nan
    ensemble: FiniteFloat = math.nan
    gap: FiniteFloat = math.nan


def comparison_table(
    metrics: dict[str, Metrics], predictions: dict[str, Predictions], confidence: float, published: dict[str, float]
) -> pd.DataFrame:
    """Lists the architectures, best accuracy first, by name where they tie.

    Args:
        metrics: what evaluate recorded, by architecture.
        predictions: those of its models.
        confidence: level of the interval (`low`, `high`) around the mean accuracy; NaN where there is none.
        published: accuracies published elsewhere, by architecture; absent ones stay empty.

    Returns:
        dataset, architecture, accuracy, low, high, confidence, seeds, accuracy_sd, errors, loss, parameters,
        train_validation_gap, published, and published_is: inside, above or below our interval.
    """
    rows = []
    for name in sorted(metrics, key=lambda name: (-metrics[name].accuracy, name)):
        figures = metrics[name]
        low, high = accuracy_interval(predictions[name].right, confidence)
        rows.append(
            {
                "dataset": figures.dataset[0],
                "architecture": name,
                "accuracy": figures.accuracy,
                "low": low,
                "high": high,
                "confidence": confidence,
                "seeds": len(predictions[name].seeds),
                "accuracy_sd": figures.accuracy_sd,
                **{key: getattr(figures, key) for key in ("errors", "loss", "parameters")},
                "train_validation_gap": figures.gap,
                "published": published.get(name, np.nan),
                "published_is": _position(published.get(name), low, high),
            }
        )
    return pd.DataFrame(rows)


def _position(published: float | None, low: float, high: float) -> str:
    if published is None or math.isnan(low):
        return ""
    return "above" if published > high else "below" if published < low else "inside"


def read_description(side: Revision) -> Description:
    """Reads the description of the data set that fetch wrote; raises `PipelineError` if it is missing or damaged."""
    return _read(side, results.DESCRIPTION, "fetch", Description.parse)


def read_metrics(side: Revision, name: str) -> Metrics:
    """Reads what evaluate recorded; raises `PipelineError` if it is missing or damaged."""
    return _read(side, results.metrics(name), f"evaluate@{name}", functools.partial(read_as, Metrics))


def _read(side: Revision, path: Path, stage: str, parse: Callable[[bytes, str], T]) -> T:
    """Parses a result, given with where it was; raises `PipelineError`, which says how to make it, if that fails."""
    content = present(path, side.read(path), stage)
    with made_by(stage, path) if side == WORKSPACE else contextlib.nullcontext():
        return parse(content, f"{path} in {side}")


def tables(
    side: Revision, description: Description, names: Iterable[str], overview: dict[str, Any]
) -> dict[Path, pd.DataFrame]:
    """Builds the comparison and the training curves of these architectures, by path, from results in git.

    Args:
        side: where to read the results.
        description: of the data set, as `read_description` gives it.
        names: the architectures.
        overview: that section of params.yaml; its published accuracies count only for the data set that they name.

    Raises:
        PipelineError: a result is not there.
    """
    metrics = {name: read_metrics(side, name) for name in names}
    predictions = {
        name: _read(side, results.predictions(name), f"evaluate@{name}", functools.partial(_parse_predictions, name))
        for name in metrics
    }
    published = overview.get("published") or {}
    accuracies = published["accuracy"] if published.get("dataset") == description.dataset else {}
    comparison = comparison_table(metrics, predictions, overview["confidence"], accuracies)
    histories = {name: results.history(name) for name in comparison["architecture"]}  # in this order
    parse = functools.partial(read_table, dtype=COUNTS)
    read = [_read(side, path, f"report@{name}", parse) for name, path in histories.items()]
    training = pd.concat(read, ignore_index=True)
    if "seeds" in training:  # those without the column have all seeds in each row
        training["seeds"] = training["seeds"].fillna(len(predictions[comparison["architecture"][0]].seeds))
    return {results.COMPARISON: comparison, results.TRAINING: training}


def _parse_predictions(name: str, content: bytes, where: str) -> Predictions:
    return Predictions.parse(content, name, where)


def present(path: str | Path, content: Any, stage: str) -> Any:
    """Returns what was read of a result; if that is nothing, raises `PipelineError` naming the stage that makes it."""
    if content is None:
        raise PipelineError(f"{path}: no such file", f"make it with: dvc repro {stage}")
    return content


def read_table(content: bytes, where: str, **options: Any) -> pd.DataFrame:
    """Reads a table of architectures; one of them may be named "null" or "007". `options` are those of pandas.

    Raises `PipelineError`, which names `where` it was, if it is not a CSV file, or has too many columns.
    """
    with unreadable(where, "a table"):
        if content.partition(b"\n")[0].count(b",") > MAX_COLUMNS:
            raise ValueError(f"expected at most {MAX_COLUMNS} columns, found more")
        return pd.read_csv(io.BytesIO(content), **{"converters": {"architecture": str}} | options)


def stale_tables(side: Revision) -> list[str]:
    """Lists the tables in git that do not match the revision's results, a line each.

    Ignores results that are missing or not readable, as dvc.lock tells of them; and columns that only one of the two
    has, as another version of this project may have drawn the tables.
    """
    try:
        overview = Overview.model_validate(side.params()["overview"])
        drawn = tables(side, read_description(side), architectures_of(side), overview.model_dump())
    except (PipelineError, LookupError, ValueError):
        return []
    return [
        f"{path}: does not match the results in metrics/ and plots/; run: make overview"
        for path, table in drawn.items()
        if not _same_cells(side, path, table.to_csv(index=False).encode())
    ]


def _same_cells(side: Revision, path: Path, expected: bytes) -> bool:
    try:
        contents = side.read(path) or b"", expected
        cells = {"dtype": str, "keep_default_na": False, "converters": None}
        old, new = (read_table(content, str(path), **cells) for content in contents)
    except PipelineError:
        return False
    shared = [column for column in new if column in old]
    return "architecture" in shared and old[shared].equals(new[shared])
