"""How the architectures compare: over their metrics, and as the tables that git holds of a revision."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.common.errors import PipelineError
from tools.common import results
from tools.common.revision import Revision
from tools.common.statistics import wilson_interval


def comparison_table(metrics: dict[str, dict], confidence: float, published: dict[str, float]) -> pd.DataFrame:
    """The architectures side by side, best accuracy first, by name where they tie.

    Args:
        metrics: what evaluate recorded, by architecture.
        confidence: level of the Wilson interval (`low`, `high`) around the accuracy.
        published: accuracies published elsewhere, by architecture; absent ones stay empty.

    Returns:
        dataset, architecture, accuracy, low, high, confidence, errors, loss, parameters,
        train_validation_gap, published, and published_is: inside, above or below our interval.
    """
    rows = []
    for name in sorted(metrics, key=lambda name: (-metrics[name]["accuracy"], name)):
        figures = metrics[name]
        correct = figures["test_images"] - figures["errors"]
        low, high = wilson_interval(correct, figures["test_images"], confidence)
        rows.append(
            {
                "dataset": figures["dataset"],
                "architecture": name,
                "accuracy": figures["accuracy"],
                "low": low,
                "high": high,
                "confidence": confidence,
                **{key: figures[key] for key in ("errors", "loss", "parameters")},
                "train_validation_gap": figures.get("train_validation_gap", np.nan),
                "published": published.get(name, np.nan),
                "published_is": _position(published.get(name), low, high),
            }
        )
    return pd.DataFrame(rows)


def _position(published: float | None, low: float, high: float) -> str:
    if published is None:
        return ""
    return "above" if published > high else "below" if published < low else "inside"


def tables(side: Revision, names: Iterable[str], overview: dict[str, Any]) -> dict[Path, pd.DataFrame]:
    """The comparison and the training curves of these architectures, by path, from what git holds of their results.

    `overview` is that section of params.yaml; the accuracies published there count for the same data set only. Raises
    `PipelineError` if a result is not there.
    """
    dataset = present(results.DESCRIPTION, side.read_json(results.DESCRIPTION), "fetch")["dataset"]
    paths = {name: results.metrics(name) for name in names}
    metrics = {name: present(path, side.read_json(path), f"evaluate@{name}") for name, path in paths.items()}
    published = overview.get("published") or {}
    accuracies = published["accuracy"] if published.get("dataset") == dataset else {}
    comparison = comparison_table(metrics, overview["confidence"], accuracies)
    histories = {name: results.history(name) for name in comparison["architecture"]}  # in this order
    read = [read_table(present(path, side.read(path), f"evaluate@{name}")) for name, path in histories.items()]
    return {results.COMPARISON: comparison, results.TRAINING: pd.concat(read, ignore_index=True)}


def present(path: str | Path, content: Any, stage: str) -> Any:
    """What was read of a result; raises `PipelineError` that names the stage which makes it if nothing was there."""
    if content is None:
        raise PipelineError(f"{path}: no such file; make it with: dvc repro {stage}")
    return content


def read_table(content: bytes) -> pd.DataFrame:
    """A table of architectures, one of which may be named "null" or "007"."""
    return pd.read_csv(io.BytesIO(content), converters={"architecture": str})


def stale_tables(side: Revision) -> list[str]:
    """The tables in git that the results of a revision do not give, a line each.

    Nothing is said where results are not there or not readable, which dvc.lock tells, nor of columns that only one of
    the two has, as another version of this project may have drawn the tables.
    """
    params = side.params()
    try:
        drawn = tables(side, params["architectures"], params["overview"])
    except (PipelineError, LookupError, TypeError, ValueError, AttributeError):
        return []
    return [
        f"{path}: does not match the results in metrics/ and plots/; run: make overview"
        for path, table in drawn.items()
        if not _same_cells(side.read(path) or b"", table.to_csv(index=False).encode())
    ]


def _same_cells(found: bytes, expected: bytes) -> bool:
    try:
        old, new = (pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False) for text in (found, expected))
    except ValueError:  # as pandas' errors of empty and damaged files, and of their encoding
        return False
    shared = [column for column in new if column in old]
    return "architecture" in shared and old[shared].equals(new[shared])
