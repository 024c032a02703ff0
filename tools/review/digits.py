"""Lists the digits that became wrong or right, with their pictures, from git alone (plots/errors/)."""

import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.data.archive import Description
from stages.results import tiles
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, unreadable
from tools.common import results
from tools.common.change import Comparison
from tools.common.comparison import read_table
from tools.common.lock import digests, stages_of
from tools.common.revision import Revision

Images = dict[int, np.ndarray]  # by index in the test set, uint8 (height, width)


@dataclass(frozen=True)
class Digit:
    """A test image that became right or wrong, for more than half of the seeds.

    `old` and `new` are the predictions that most seeds give, of those that get it wrong where it is wrong.
    `probability` is that of the wrong one. `seeds_wrong` counts the seeds that get it wrong, as `0 → 2`; if the sides
    have not as many seeds, as `0 of 1 → 2 of 3`.
    """

    index: int
    label: int
    old: int
    new: int
    probability: float
    seeds_wrong: str
    png: bytes | None

    @property
    def wrong(self) -> int:
        """The wrong prediction, which is the old or the new one."""
        return self.old if self.new == self.label else self.new


def newly_wrong(change: Comparison, images: Images) -> list[Digit]:
    """Lists the digits that became wrong, errors of most seeds first."""
    return _digits(change, change.broke, change.head, images)


def newly_right(change: Comparison, images: Images) -> list[Digit]:
    """Lists the digits that became right, errors of most seeds first."""
    return _digits(change, change.fixed, change.base, images)


def _digits(change: Comparison, indices: np.ndarray, wrong: Predictions, images: Images) -> list[Digit]:
    """Lists the digits at `indices`; `wrong` is the side that gets them wrong."""
    old, new = change.base.most_common, change.head.most_common
    right = change.base.right, change.head.right
    unequal = len(right[0]) != len(right[1])
    digits = []
    for row in wrong.errors[wrong.errors["index"].isin(indices)].itertuples(index=False):
        index, predicted = int(row.index), int(row.prediction)
        pair = (int(old[index]), predicted) if wrong is change.head else (predicted, int(new[index]))
        png = _png(images[index]) if index in images else None
        seeds = " → ".join(f"{(~side[:, index]).sum()}" + f" of {len(side)}" * unequal for side in right)
        digits.append(Digit(index, int(row.label), *pair, float(row.probability), seeds, png))
    return digits


def _png(image: np.ndarray) -> bytes:
    """Encodes the image dark on light, as ink on paper."""
    stream = io.BytesIO()
    Image.fromarray(255 - image).save(stream, format="png")
    return stream.getvalue()


def by_pair(digits: list[Digit]) -> list[tuple[str, str]]:
    """Groups the digits by label and wrong prediction, most frequent pair first: `("7 as 2", "340, 1226")`."""
    numbers = defaultdict(list)
    for digit in digits:
        numbers[digit.label, digit.wrong].append(str(digit.index))
    pairs = sorted(numbers.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(f"{label} as {wrong}", ", ".join(indices)) for (label, wrong), indices in pairs]


def error_images(revision: Revision, predictions: list[Predictions]) -> tuple[Images, list[str]]:
    """Reads the images of a revision's errors; and lists why some are missing, a line each.

    Image k of an architecture's picture is that of row k of its table of errors, which the same stage wrote. The
    picture must be the one in dvc.lock, and the table that of `predictions`, which are those of the revision, so that
    no image stands beside another's label.
    """
    images: Images = {}
    missing: list[str] = []
    try:
        stages = stages_of(revision)
        shape = Description.parse(revision.read(results.DESCRIPTION) or b"{}", str(results.DESCRIPTION)).image
    except PipelineError as error:
        return {}, [f"no pictures of digits of {revision}: {error}"]
    for side in predictions:
        path = results.errors(side.name)
        try:
            content = revision.read(path)
            if content is None:
                missing.append(f"{path}: not in {revision}, so these digits have no pictures")
            elif not (_recorded(stages.get(f"report@{side.name}"), revision, path) and _made_from(side, revision)):
                missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
            else:
                with unreadable(f"{path} in {revision}", "a picture of digits"):
                    images.update(zip(side.errors["index"], tiles.read(content, *shape), strict=False))
        except PipelineError as error:
            missing.append(f"no pictures of digits of {side.name}: {error}")
    return images, missing


def _recorded(entry: dict[str, Any] | None, revision: Revision, path: Path) -> bool:
    """Whether a stage's entry in dvc.lock has the file's digest."""
    return digests(entry or {}, "outs").get(str(path)) == revision.digest(str(path))


def _made_from(predictions: Predictions, revision: Revision) -> bool:
    """Whether the table of errors beside a picture, of the same stage, is that of these predictions."""
    path, columns = results.errors_table(predictions.name), ["index", "label", "prediction"]
    table = read_table(revision.read(path) or b"", str(path))
    return set(columns) <= set(table) and table[columns].equals(predictions.errors[columns])
