"""Tables worked out from the predictions: pure functions, for the report and for reviews."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def confusion(label: np.ndarray, prediction: np.ndarray, classes: Sequence[int | str]) -> pd.DataFrame:
    """Confusion counts, int (classes, classes): row = label, column = prediction; summed over seeds.

    Args:
        label: classes (n,).
        prediction: classes (n,), or (seeds, n).
        classes: their numbers, or their names, which the rows and columns get.
    """
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (np.broadcast_to(label, prediction.shape), prediction), 1)
    return pd.DataFrame(counts, classes, classes).rename_axis(index="label", columns="prediction")


def normalised(counts: pd.DataFrame) -> pd.DataFrame:
    """Each row of a confusion matrix as shares of its label's images; NaN for a label without any."""
    images = counts.sum(axis=1)
    return counts.div(images.where(images > 0), axis=0)


def confused_pairs(counts: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The most confused (label, prediction) pairs, most first: label, prediction, count, share of label."""
    labels, predictions = np.nonzero(counts.to_numpy() * ~np.eye(len(counts), dtype=bool))
    pairs = pd.DataFrame({"label": labels, "prediction": predictions})
    pairs["count"] = counts.to_numpy()[labels, predictions]
    pairs["share"] = normalised(counts).to_numpy()[labels, predictions].round(6)
    ordered = pairs.sort_values(["count", "label", "prediction"], ascending=[False, True, True])
    return with_names(ordered.head(limit).reset_index(drop=True), counts.index)


def with_names(table: pd.DataFrame, classes: Sequence[int | str]) -> pd.DataFrame:
    """The table with names for the numbers of classes in `label` and `prediction`."""
    named = {column: np.asarray(classes)[table[column]] for column in ("label", "prediction")}
    return table.assign(**named)


def class_figures(counts: pd.DataFrame) -> pd.DataFrame:
    """Images, errors, recall and precision of each class, in test images.

    Recall is the share of a class's images that are predicted as it, precision the share of its predictions that are
    right. Recall is NaN for a class without images, precision NaN for one that is never predicted.

    Args:
        counts: confusion counts, int (classes, classes): row = label, column = prediction.
    """
    right, images, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return pd.DataFrame(
        {
            "class": counts.index,
            "images": images.to_numpy(),
            "errors": (images - right).to_numpy(),
            "recall": (right / images.where(images > 0)).round(6).to_numpy(),
            "precision": (right / predicted.where(predicted > 0)).round(6).to_numpy(),
        }
    )


def errors(label: np.ndarray, prediction: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Every test image that a seed gets wrong: those that most seeds get wrong first, then the most confident errors.

    Args:
        label: classes (n,).
        prediction: of each seed's model, classes (seeds, n).
        probability: of the predictions, (seeds, n).

    Returns:
        index in the test set, label, the wrong prediction that most seeds give (of those that tie, the most probable),
        seeds (the number that get the image wrong) and the mean probability of that prediction where it is given.
    """
    seed, index = np.nonzero(prediction != label)
    wrong = pd.DataFrame(
        {
            "index": index,
            "label": label[index],
            "prediction": prediction[seed, index],
            "probability": probability[seed, index],
        }
    )
    groups = wrong.groupby(["index", "label", "prediction"])["probability"]
    given = pd.DataFrame({"given": groups.size(), "probability": groups.mean()}).reset_index()
    given["seeds"] = given.groupby("index")["given"].transform("sum")
    given["probability"] = given["probability"].round(6)
    ordered = given.sort_values(["given", "probability", "prediction"], ascending=[False, False, True])
    most = ordered.drop_duplicates("index")
    most = most.sort_values(["seeds", "probability", "index"], ascending=[False, False, True])
    return most[["index", "label", "prediction", "seeds", "probability"]].reset_index(drop=True)
