"""Tables of test images and predictions, one row per image. Classes are numbers, or have the names of the data set."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.common.prepared import Dataset
from stages.results.pictures import shortened
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, printable
from stages.support.notation import nearest
from stages.support.params import load_params
from tools.common import results

SHORT = 9  # characters of a class's name where two stand side by side


def prepared(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images, float32 (n, height, width, channels) in [0, 1], and labels (n,) of "train" or "test"."""
    folder = results.TRAINING_DATA if split == "train" else results.TEST_DATA
    images, one_hot = Dataset.read(folder).load(folder)
    return images, one_hot.argmax(axis=1)


def classes() -> list[int] | list[str]:
    """Returns the names of the data set's classes, printable, or their numbers if they have none."""
    dataset = Dataset.read(results.TEST_DATA)
    return [printable(name) for name in dataset.class_names] or list(range(dataset.classes))


def class_number(option: str, text: str | None, names: Sequence[int | str]) -> int | None:
    """Returns the number of a class, for its name or its number. Raises `PipelineError` if there is no such class."""
    if text is None:
        return None
    known, text = [str(name) for name in names], printable(text)
    if text in known:
        return known.index(text)
    if text.isdecimal() and int(text) < len(known):
        return int(text)
    raise PipelineError(f"{option}: no class '{text}'{nearest(text, known)}")


def named(rows: pd.DataFrame, names: Sequence[int | str]) -> pd.DataFrame:
    """Returns the rows with the names of classes for their numbers, in the columns that hold any."""
    columns = rows.columns.intersection(["label", "prediction", "second"])
    return rows.assign(**{column: np.array(names)[rows[column].to_numpy(dtype=int)] for column in columns})


def recorded(name: str, labels: np.ndarray) -> Predictions:
    """Reads the predictions of an architecture for the test images.

    Raises `PipelineError` if there are none, or if the labels differ.
    """
    return Predictions.read(results.predictions(name), name, load_params().train.seeds, labels)


def errors(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """Lists all wrong predictions, each image once for an architecture; those that most seeds make first.

    Columns: architecture, index, label, prediction, seeds (number that get it wrong; left out if there is one seed),
    probability. See `stages.results.tables.errors`.
    """
    together = pd.concat([item.errors.assign(architecture=name) for name, item in predictions.items()])
    order = ["seeds", "probability", "index", "architecture"]
    ordered = together.sort_values(order, ascending=[False, False, True, True]).reset_index(drop=True)
    columns = ["architecture", "index", "label", "prediction", "seeds", "probability"]
    if all(len(item.prediction) == 1 for item in predictions.values()):
        columns.remove("seeds")
    return ordered[columns]


def select(
    wrong: pd.DataFrame, label: int | None, prediction: int | None, least: float, most: float, seeds: int = 1
) -> pd.DataFrame:
    """Selects the errors with this label and prediction (`None`: any), and a probability from `least` to `most`.

    `seeds` is the least number of seeds that make the error.
    """
    chosen = wrong["probability"].between(least, most)
    if seeds > 1:
        chosen &= wrong["seeds"] >= seeds
    for column, value in (("label", label), ("prediction", prediction)):
        if value is not None:
            chosen &= wrong[column] == value
    return wrong[chosen].reset_index(drop=True)


def common(predictions: dict[str, Predictions], at_least: int) -> pd.DataFrame:
    """Selects the test images that at least `at_least` models get wrong, those that most get wrong first.

    A model is an architecture with a seed. Columns: index, label, wrong (number of models), and the prediction of each
    architecture, as `_prediction` gives it.
    """
    label = next(iter(predictions.values())).label
    wrong = sum((~item.right).sum(axis=0) for item in predictions.values())
    images = pd.DataFrame({"index": np.arange(len(label)), "label": label, "wrong": wrong})
    images = images.assign(**{name: _prediction(item) for name, item in predictions.items()})
    chosen = images[images["wrong"] >= at_least]
    return chosen.sort_values(["wrong", "index"], ascending=[False, True]).reset_index(drop=True)


def _prediction(item: Predictions) -> np.ndarray:
    """The prediction of an architecture for each image, (n,).

    With several seeds it is text: the wrong prediction that most seeds give, and how many give it, as `8 (2/3)`; the
    label if all are right.
    """
    count, names = len(item.prediction), np.array(item.names)
    if count == 1:
        return names[item.prediction[0]]
    text = names[item.label].astype(str).astype(object)
    for row in item.errors.itertuples(index=False, name="Error"):
        text[row.index] = f"{names[row.prediction]} ({row.seeds}/{count})"
    return text


def titles(rows: pd.DataFrame, architectures: Sequence[str]) -> list[str]:
    """Returns titles for images in a picture, from rows as `named` returns them.

    `340: l=5,p=3`, or `cat → dog` and `340`; then seeds and probability, or what the `architectures` predict.
    """
    lines = []
    for row in rows.to_dict("records"):
        index, label = row["index"], row["label"]
        has_name = isinstance(label, str)
        title = f"{index}: {shortened(label) if has_name else f'l={label}'}"
        if "prediction" in row:
            seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}, " if "seeds" in row else ""
            pair = f"{title},p={row['prediction']}\n"
            if has_name:
                pair = f"{shortened(label, SHORT)} → {shortened(row['prediction'], SHORT)}\n{index}, "
            title = f"{pair}{seeds}{row['probability']:.1%}"
        elif architectures:
            predicted = [re.sub(r" \(\d+/\d+\)$", "", str(row[name])) for name in architectures]
            title += "\np=" + ",".join(shortened(name, SHORT) for name in predicted)
        lines.append(title)
    return lines
