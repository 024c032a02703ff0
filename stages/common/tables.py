"""Tables worked out from the predictions: pure functions, for the report and for reviews."""

import numpy as np
import pandas as pd


def confusion(predictions: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Confusion counts, int (classes, classes): row = label, column = prediction."""
    counts = pd.crosstab(predictions["label"], predictions["prediction"])
    return counts.reindex(index=range(classes), columns=range(classes), fill_value=0)


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


def class_figures(counts: pd.DataFrame) -> pd.DataFrame:
    """Images, errors, recall and precision of each class, in test images.

    Recall is the share of a class's images that are predicted as it, precision the share of its predictions that are
    right. Recall is 0 for a class without images, precision 0 for one that is never predicted.

    Args:
        counts: confusion counts, int (classes, classes): row = label, column = prediction.
    """
    right, images, predicted = np.diag(counts), counts.sum(axis=1).to_numpy(), counts.sum(axis=0).to_numpy()
    return pd.DataFrame(
        {
            "class": counts.index,
            "images": images,
            "errors": images - right,
            "recall": (right / images.clip(min=1)).round(6),
            "precision": (right / predicted.clip(min=1)).round(6),
        }
    )


def errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every wrong test image, in test-set order: index, label, prediction, probability of the prediction."""
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    return wrong[["label", "prediction", "probability"]].rename_axis("index").reset_index()


def most_confident(wrong: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The errors with the highest probability, most confident first, by index where they tie."""
    return wrong.sort_values(["probability", "index"], ascending=[False, True]).head(limit)
