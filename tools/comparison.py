"""How the architectures compare: pure functions over their metrics."""

import numpy as np
import pandas as pd

from tools.evidence import wilson_interval


def compare(metrics: dict[str, dict], confidence: float, published: dict[str, float]) -> pd.DataFrame:
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
