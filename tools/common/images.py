"""Joins the test images of a page into one picture, from git alone, and lists what its script (page.js) reads."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages.data.archive import Description
from stages.results import tiles
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, printable, unreadable
from tools.common import results
from tools.common.changes import Comparison
from tools.common.lock import digests, stages_of
from tools.common.revision import Revision
from tools.common.templates import data_uri

Images = dict[int, np.ndarray]  # by index in the test set, uint8 (height, width[, 3]) as they are shown
SMALL, LARGE = 64, 96  # pixels on the page: longer side of small images, and of larger ones
READING = ["index", "label", "prediction"]


def error_images(revision: Revision, predictions: list[Predictions]) -> tuple[Images, list[str]]:
    """Reads the images of a revision's errors; and lists why some are missing, a line each.

    Image k of an architecture's picture is that of row k of `Predictions.errors`. The picture must be the one that
    report made from these predictions, by dvc.lock, so that no image stands beside another's label.
    """
    images: Images = {}
    missing: list[str] = []
    try:
        stages = stages_of(revision)
        description = Description.parse(revision.read(results.DESCRIPTION) or b"{}", str(results.DESCRIPTION))
    except PipelineError as error:
        return {}, [f"no pictures of test images of {revision}: {error}"]
    for side in predictions:
        path, entry = results.errors(side.name), stages.get(f"report@{side.name}", {})
        files = str(path), str(results.predictions(side.name))
        recorded = {**digests(entry, "deps"), **digests(entry, "outs")}
        try:
            content = revision.read(path)
            if content is None:
                missing.append(f"{path}: not in {revision}, so these images are not shown")
            elif any(recorded.get(file) != revision.digest(file) for file in files):
                missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
            else:
                with unreadable(f"{path} in {revision}", "a picture of test images"):
                    kept = tiles.read(content, *description.image)
                images.update(zip(side.errors["index"], kept if description.photo else 255 - kept, strict=False))
        except PipelineError as error:
            missing.append(f"no pictures of test images of {side.name}: {error}")
    return images, missing


@dataclass(frozen=True)
class Sheet:
    """Images joined into one PNG, as `stages.results.tiles.join` does, of which a page shows one at a time.

    `places` has the place of each image in it by index, `size` the width and height of one on the page, in pixels.
    """

    places: dict[int, int]
    png: bytes
    size: tuple[int, int]
    is_enlarged: bool

    @classmethod
    def of(cls, images: Images, shown: Iterable[int]) -> "Sheet":
        """Joins those of the images that are shown; leaves out images of another size than the first."""
        indices = [index for index in sorted(set(shown)) if index in images]
        if not indices:
            return cls({}, b"", (SMALL, SMALL), True)
        shape = images[indices[0]].shape
        indices = [index for index in indices if images[index].shape == shape]
        longer = max(shape[:2])
        scale = (SMALL if longer <= SMALL else LARGE) / longer
        height, width = (max(1, round(scale * side)) for side in shape[:2])
        stream = io.BytesIO()
        joined = tiles.join(np.stack([images[index] for index in indices]))
        Image.fromarray(joined).save(stream, format="png", optimize=True)
        places = {index: place for place, index in enumerate(indices)}
        return cls(places, stream.getvalue(), (width, height), scale >= 1)

    @property
    def style(self) -> str:
        """The style of an element that shows an image; its `background-position` says which."""
        width, height = self.size
        size = f"width: {width}px; height: {height}px; background-size: {tiles.COLUMNS * width}px auto;"
        scaling = "pixelated" if self.is_enlarged else "auto"
        return f".tile {{ {size} image-rendering: {scaling}; background-image: url({data_uri(self.png)}) }}\n"

    def position(self, index: int) -> str:
        """The `background-position` of an image; empty if it is not in the picture."""
        if index not in self.places:
            return ""
        row, column = divmod(self.places[index], tiles.COLUMNS)
        return f"{-column * self.size[0]}px {-row * self.size[1]}px"

    def script_data(self, names: list[Any], seeds: int, rows: dict[str, list[list[Any]]]) -> dict[str, Any]:
        """Returns what page.js reads: names of classes, number of seeds (0 if sides are compared), rows by name."""
        sheet = {"places": self.places, "size": self.size, "columns": tiles.COLUMNS}
        return {"names": [printable(str(name)) for name in names], "seeds": seeds, "rows": rows, **sheet}


def error_rows(predictions: Predictions) -> list[list[Any]]:
    """Lists what the models read wrong, most confident first.

    A row has the image's index, label, a wrong prediction, its mean probability, the number of seeds that give it, and
    the number of seeds that get the image wrong. An image has a row for each of its wrong predictions.
    """
    readings = _readings(predictions)
    wrong = readings[readings["label"] != readings["prediction"]]
    return _rows(wrong.assign(wrong=wrong.groupby("index")["given"].transform("sum")))


def change_rows(change: Comparison) -> list[list[Any]]:
    """Lists the predictions that more or fewer seeds give than before, right ones too, most confident first.

    A row has the image's index, label, a prediction, its mean probability (in the base, if no seed gives it now), and
    how many seeds give it, before and now.
    """
    base, head = (_readings(side).set_index(READING) for side in (change.base, change.head))
    both = head.add_suffix("_head").join(base.add_suffix("_base"), how="outer")
    before, now = (both[f"given_{side}"].fillna(0).astype(int) for side in ("base", "head"))
    counts = [len(side.seeds) for side in (change.base, change.head)]
    changed = before * counts[1] != now * counts[0]
    probability = both["probability_head"].fillna(both["probability_base"])
    notes = [_note(pair, counts) for pair in zip(before[changed], now[changed], strict=True)]
    return _rows(pd.DataFrame({"probability": probability[changed], "note": notes}).reset_index())


def _readings(predictions: Predictions) -> pd.DataFrame:
    """Counts the seeds that give an image a prediction (`given`), and averages the probability they give it."""
    seeds = len(predictions.seeds)
    table = pd.DataFrame(
        {
            "index": np.tile(np.arange(len(predictions.label)), seeds),
            "label": np.tile(predictions.label, seeds),
            "prediction": predictions.prediction.ravel(),
            "probability": predictions.probability.ravel().clip(0, 1),
        }
    )
    groups = table.groupby(READING)["probability"]
    return pd.DataFrame({"probability": groups.mean().round(6), "given": groups.size()}).reset_index()


def _rows(table: pd.DataFrame) -> list[list[Any]]:
    return table.sort_values(["probability", *READING], ascending=[False, True, True, True]).to_numpy(object).tolist()


def _note(given: tuple[int, int], seeds: list[int]) -> str:
    """Describes how many seeds give a prediction: `0 → 2 seeds`, `0 of 1 → 2 of 3 seeds`; with one seed, when."""
    if seeds == [1, 1]:
        return "now" if given[1] else "in base"
    counts = [
        f"{count} of {of}" if seeds[0] != seeds[1] else f"{count}" for count, of in zip(given, seeds, strict=True)
    ]
    return f"{' → '.join(counts)} seeds"
