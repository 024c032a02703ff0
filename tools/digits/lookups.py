"""Tables of digits and predictions, one row per digit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.common.arrays import load_prepared
from stages.common.errors import PipelineError
from tools.common import results
from tools.common.predictions import Predictions
from tools.common.revision import WORKSPACE


def prepared(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images, float32 (n, height, width, 1) in [0, 1], and labels (n,) of "train" or "test"."""
    try:
        images, one_hot = load_prepared(results.PREPARED, split)
    except FileNotFoundError as error:
        raise PipelineError(f"{error.filename}: no such file; run: dvc repro preprocess") from error
    return images, one_hot.argmax(axis=1)


def recorded(name: str, labels: np.ndarray) -> Predictions:
    """Reads an architecture's predictions for the test images. Raises `PipelineError` if the labels differ."""
    found = Predictions.read(WORKSPACE, name)
    if found is None:
        raise PipelineError(f"{results.EVALUATIONS / name}: no predictions; run: make repro")
    if not np.array_equal(found.label, labels):
        raise PipelineError(f"{results.EVALUATIONS / name}: made from other test images; run: make repro")
    return found


def errors(predictions: dict[str, Predictions]) -> pd.DataFrame:
    """All wrong test images, those that most seeds get wrong first, then the most confident errors.

    Columns: architecture, index, label, prediction, seeds (how many get it wrong), probability; see
    `stages.common.tables.errors`.
    """
    found = [item.errors.assign(architecture=name) for name, item in predictions.items()]
    together = pd.concat(found, ignore_index=True)
    order = {"seeds": False, "probability": False, "index": True, "architecture": True}
    ordered = together.sort_values(list(order), ascending=list(order.values()))
    return ordered[["architecture", *found[0].columns[:-1]]].reset_index(drop=True)


def select(wrong: pd.DataFrame, label: int | None, prediction: int | None, least: float, most: float) -> pd.DataFrame:
    """The errors with this label and prediction (`None`: any) and a probability from `least` to `most`."""
    chosen = wrong["probability"].between(least, most)
    for column, value in (("label", label), ("prediction", prediction)):
        if value is not None:
            chosen &= wrong[column] == value
    return wrong[chosen].reset_index(drop=True)


def common(predictions: dict[str, Predictions], at_least: int) -> pd.DataFrame:
    """Test images that at least `at_least` models get wrong, those that most get wrong first.

    Columns: index, label, wrong (how many models), and for each architecture its prediction, or with several seeds the
    wrong one that most seeds give and how many are wrong, such as `8 (2/3)`.
    """
    label = next(iter(predictions.values())).label
    wrong = sum((~item.right).sum(axis=0) for item in predictions.values())
    found = pd.DataFrame({"index": np.arange(len(label)), "label": label, "wrong": wrong})
    found = found.assign(**{name: _predicted(item) for name, item in predictions.items()})
    chosen = found[found["wrong"] >= at_least]
    return chosen.sort_values(["wrong", "index"], ascending=[False, True]).reset_index(drop=True)


def _predicted(item: Predictions) -> np.ndarray:
    """What an architecture predicts for each test image, (n,): a class, or text where seeds get it wrong."""
    if len(item.prediction) == 1:
        return item.prediction[0]
    shown = item.label.astype(object)
    for row in item.errors.itertuples(index=False):
        shown[row.index] = f"{row.prediction} ({row.seeds}/{len(item.prediction)})"
    return shown


def titles(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Titles for digits in a picture: `340: l=5,p=3` and the probability, or the predictions of `names`."""
    lines = []
    for row in rows.to_dict("records"):
        title = f"{row['index']}: l={row['label']}"
        if "prediction" in row:
            title += f",p={row['prediction']}\n{row['probability']:.1%}"
        elif names:
            title += "\np=" + ",".join(str(row[name]) for name in names)
        lines.append(title)
    return lines
