"""Compares the architectures of a revision in two tables, which git holds beside the results."""

import math
from pathlib import Path
from typing import TypeVar

import pandas as pd

from stages.data.archive import Description
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, with_hint
from stages.support.params import Overview, Train
from tools.common import results
from tools.common.predictions import architectures_of, read_predictions
from tools.common.revision import Revision
from tools.common.statistics import accuracy_interval

DECIMALS = 6  # of the figures
T = TypeVar("T")


def comparison_table(architectures: list[Predictions], confidence: float, published: dict[str, float]) -> pd.DataFrame:
    """Lists the architectures, best accuracy first, by name where they tie.

    Args:
        architectures: their results, one or more.
        confidence: level of the interval (`low`, `high`) around the mean accuracy; NaN where there is none.
        published: accuracies published elsewhere, by architecture; absent ones stay empty.

    Returns:
        dataset, architecture, accuracy, low, high, confidence, seeds, accuracy_sd, errors, loss, parameters,
        train_validation_gap, published, and published_is: inside, above or below our interval. Figures are rounded.
    """
    rows = []
    for predictions in architectures:
        metrics = predictions.metrics(math.nan)
        figures = {key: round(value, DECIMALS) if isinstance(value, float) else value for key, value in metrics.items()}
        low, high = accuracy_interval(predictions.right, confidence)
        rows.append(
            {
                "dataset": predictions.dataset,
                "architecture": predictions.name,
                "accuracy": figures["accuracy"],
                "low": low,
                "high": high,
                "confidence": confidence,
                "seeds": len(predictions.seeds),
                "accuracy_sd": figures.get("accuracy_sd", math.nan),
                **{key: figures[key] for key in ("errors", "loss", "parameters")},
                "train_validation_gap": figures.get("gap", math.nan),
                "published": published.get(predictions.name, math.nan),
                "published_is": _position(published.get(predictions.name), low, high),
            }
        )
    return pd.DataFrame(rows).sort_values(["accuracy", "architecture"], ascending=[False, True], ignore_index=True)


def _position(published: float | None, low: float, high: float) -> str:
    if published is None or math.isnan(low):
        return ""
    return "above" if published > high else "below" if published < low else "inside"


def training_table(architectures: list[Predictions]) -> pd.DataFrame:
    """Lists the loss and accuracy of each epoch, as `Predictions.curves`, one architecture after the other.

    If some seeds ended earlier than others, `seeds` counts the seeds of each row.
    """
    curves = [predictions.curves for predictions in architectures]
    if any("seeds" in table for table in curves):
        counts = [len(predictions.seeds) for predictions in architectures]
        curves = [table.assign(seeds=table.get("seeds", count)) for table, count in zip(curves, counts, strict=True)]
    return pd.concat(curves, ignore_index=True)


def read_description(side: Revision) -> Description:
    """Reads the description of the data set that fetch wrote; raises `PipelineError` if it is missing or damaged."""
    content = _present(results.DESCRIPTION, side.read(results.DESCRIPTION), "fetch")
    return Description.parse(content, f"{results.DESCRIPTION} in {side}")


def read_architectures(side: Revision) -> tuple[list[Predictions], list[str]]:
    """Reads the results of all architectures in params.yaml, best accuracy first; and why some are missing.

    Results of another data set or of other seeds are left from an earlier run, and count as missing. Raises
    `PipelineError` if the params or the description of the data set cannot be read.
    """
    description = read_description(side)
    seeds = tuple(sorted(side.section("train", Train).seeds))
    architectures, missing = [], []
    for name in architectures_of(side):
        try:
            architectures.append(_current(side, name, description, seeds))
        except PipelineError as error:
            missing.append(f"{name}: {error}")
    return sorted(architectures, key=lambda item: (-round(item.accuracy, DECIMALS), item.name)), missing


def _current(side: Revision, name: str, description: Description, seeds: tuple[int, ...]) -> Predictions:
    """Reads the results of an architecture; raises `PipelineError` if they are not of this data set and these seeds."""
    path, stage = results.predictions(name), f"evaluate@{name}"
    with with_hint(lambda: f"run: dvc repro {stage}"):
        content = read_predictions(side, name)
    predictions = _present(path, content, stage)
    images = description.arrays["x_test"].shape[0]
    if (predictions.dataset, len(predictions.label)) != (description.dataset, images):
        raise PipelineError(f"{path}: of another data set", f"run: dvc repro {stage}")
    if predictions.seeds != seeds:
        raise PipelineError(f"{path}: expected the seeds {list(seeds)}, found {list(predictions.seeds)}")
    return predictions


def _present(path: Path, content: T | None, stage: str) -> T:
    """Returns what was read of a result; if that is nothing, raises `PipelineError` naming the stage that makes it."""
    if content is None:
        raise PipelineError(f"{path}: no such file", f"make it with: dvc repro {stage}")
    return content


def tables(architectures: list[Predictions], overview: Overview) -> dict[Path, pd.DataFrame]:
    """Returns the tables of all architectures by path, for `read_architectures` and the section of params.yaml.

    Published accuracies count only for the data set that they name.
    """
    published = overview.published
    accuracies = published.accuracy if published and published.dataset == architectures[0].dataset else {}
    comparison = comparison_table(architectures, overview.confidence, accuracies)
    return {results.COMPARISON: comparison, results.TRAINING: training_table(architectures)}


def to_csv(table: pd.DataFrame) -> str:
    """Formats a table as the file in git has it."""
    return table.to_csv(index=False, lineterminator="\n")


def stale_tables(side: Revision) -> list[str]:
    """Lists the tables in git that do not match the revision's results, a line each.

    Ignores results that are missing or not readable, which show in the comparison with dvc.lock.
    """
    try:
        overview = side.section("overview", Overview)
        architectures, _ = read_architectures(side)
    except PipelineError:
        return []
    return [
        f"{path}: does not match the results in metrics/; run: make overview"
        for path, table in (tables(architectures, overview).items() if architectures else ())
        if _text(side, path) != to_csv(table)
    ]


def _text(side: Revision, path: Path) -> str:
    try:
        return (side.read(path) or b"").decode(errors="replace").replace("\r\n", "\n")
    except PipelineError:
        return ""
