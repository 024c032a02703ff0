"""The tables of the report: pure functions over predictions, metrics and histories."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix


def confusion(predictions: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Confusion counts, int (classes, classes): row = label, column = prediction."""
    names = pd.RangeIndex(classes)
    counts = confusion_matrix(predictions["label"], predictions["prediction"], labels=names)
    return pd.DataFrame(counts, index=names.rename("label"), columns=names.rename("prediction"))


def normalised(counts: pd.DataFrame) -> pd.DataFrame:
    """Each row of a confusion matrix as shares of its label's images; zeros for a label without any."""
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0)


def confused_pairs(counts: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The most confused (label, prediction) pairs, most first: label, prediction, count, share of label."""
    labels, predictions = np.nonzero(counts.to_numpy() * ~np.eye(len(counts), dtype=bool))
    pairs = pd.DataFrame({"label": labels, "prediction": predictions})
    pairs["count"] = counts.to_numpy()[labels, predictions]
    pairs["share"] = normalised(counts).to_numpy()[labels, predictions].round(6)
    ordered = pairs.sort_values(["count", "label", "prediction"], ascending=[False, True, True])
    return ordered.head(limit).reset_index(drop=True)


def class_figures(counts: pd.DataFrame, metrics: dict) -> pd.DataFrame:
    """Per class: test images, errors, recall and precision (the last two as evaluate recorded them)."""
    images = counts.sum(axis=1).to_numpy()
    return pd.DataFrame(
        {
            "class": counts.index,
            "images": images,
            "errors": images - np.diag(counts),
            "recall": list(metrics["recall"].values()),
            "precision": list(metrics["precision"].values()),
        }
    )


def errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every wrong test image, in test-set order: index, label, prediction, probability of the prediction."""
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    return wrong[["label", "prediction", "probability"]].rename_axis("index").reset_index()


def most_confident(wrong: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The errors with the highest probability, most confident first, by index where they tie."""
    return wrong.sort_values(["probability", "index"], ascending=[False, True]).head(limit)


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval for a proportion (E. B. Wilson, JASA 22:209-212, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return round(interval.low, 6), round(interval.high, 6)


def compare(metrics: dict[str, dict], confidence: float, published: dict[str, float]) -> pd.DataFrame:
    """The architectures side by side, best accuracy first, by name where they tie.

    Args:
        metrics: what evaluate recorded, by architecture.
        confidence: level of the Wilson interval (`low`, `high`) around the accuracy.
        published: accuracies published elsewhere, by architecture; absent ones stay empty.

    Returns:
        dataset, architecture, accuracy, low, high, errors, loss, parameters, train_validation_gap,
        published, and published_is: inside, above or below our interval.
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
