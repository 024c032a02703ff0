"""Tables of digits and predictions, one row per digit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.common.errors import PipelineError
from stages.common.params import load_params
from stages.common.prepared import Dataset
from tools.common import results
from tools.common.predictions import Predictions
from tools.common.revision import WORKSPACE


def prepared(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images, float32 (n, height, width, 1) in [0, 1], and labels (n,) of "train" or "test"."""
    images, one_hot = Dataset.read(results.PREPARED / "dataset.json").load(results.PREPARED, split)
    return images, one_hot.argmax(axis=1)


def recorded(name: str, labels: np.ndarray) -> Predictions:
    """Reads the predictions of an architecture or ensemble for the test images.

    Raises `PipelineError` if there are none, or if the labels differ.
    """
    path, hint = results.EVALUATIONS / name, f"run: dvc repro report@{name}"
    if name in load_params().ensembles:
        path, hint = results.ensemble(name), f"run: dvc repro ensemble@{name}"
    try:
        found = Predictions.read(WORKSPACE, name)
    except PipelineError as error:
        raise PipelineError(f"{error}", hint) from error
    if found is None:
        raise PipelineError(f"{path}: no such predictions", hint)
    if not np.array_equal(found.label, labels):
        raise PipelineError(f"{path}: made from other test images", hint)
    return found


def errors(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """All wrong predictions, each image once for an architecture; those that most seeds make first.

    Columns: architecture, index, label, prediction, seeds (how many get it wrong; left out if there are not several),
    probability. See `stages.common.tables.errors`.
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
    """The errors with this label and prediction (`None`: any), a probability from `least` to `most`, of so many seeds.

    `seeds` is how many make the error at least.
    """
    chosen = wrong["probability"].between(least, most)
    if seeds > 1:
        chosen &= wrong["seeds"] >= seeds
    for column, value in (("label", label), ("prediction", prediction)):
        if value is not None:
            chosen &= wrong[column] == value
    return wrong[chosen].reset_index(drop=True)


def common(predictions: dict[str, Predictions], at_least: int) -> pd.DataFrame:
    """Test images that at least `at_least` models get wrong, those that most get wrong first.

    A model is an architecture with a seed, or an ensemble.

    Columns: index, label, wrong (how many models), and what each architecture reads, as `_read`.
    """
    label = next(iter(predictions.values())).label
    wrong = sum((~item.right).sum(axis=0) for item in predictions.values())
    found = pd.DataFrame({"index": np.arange(len(label)), "label": label, "wrong": wrong})
    found = found.assign(**{name: _read(item) for name, item in predictions.items()})
    chosen = found[found["wrong"] >= at_least]
    return chosen.sort_values(["wrong", "index"], ascending=[False, True]).reset_index(drop=True)


def _read(item: Predictions) -> np.ndarray:
    """What an architecture reads on each image, (n,): its prediction.

    With several seeds, as text: the wrong prediction that most of these give, and how many are wrong, as `8 (2/3)`;
    the label if none is.
    """
    count = len(item.prediction)
    if count == 1:
        return item.prediction[0]
    read = item.label.astype(str).astype(object)
    for row in item.errors.itertuples(index=False, name="Error"):
        read[row.index] = f"{row.prediction} ({row.seeds}/{count})"
    return read


def titles(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Titles for digits in a picture: `340: l=5,p=3`, seeds and probability, or the predictions of `names`."""
    lines = []
    for row in rows.to_dict("records"):
        title = f"{row['index']}: l={row['label']}"
        if "prediction" in row:
            seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}, " if "seeds" in row else ""
            title += f",p={row['prediction']}\n{seeds}{row['probability']:.1%}"
        elif names:
            title += "\np=" + ",".join(str(row[name]).partition(" ")[0] for name in names)
        lines.append(title)
    return lines
