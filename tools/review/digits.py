"""Lists the digits that became wrong or right, with their pictures, from git alone (plots/errors/)."""

import io
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.data.archive import Description
from stages.results import tiles
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, unreadable
from tools.common import results
from tools.common.changes import Comparison
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

    Image k of an architecture's picture is that of row k of `Predictions.errors`. The picture must be the one that
    report made from these predictions, by dvc.lock, so that no image stands beside another's label.
    """
    images: Images = {}
    missing: list[str] = []
    try:
        stages = stages_of(revision)
        shape = Description.parse(revision.read(results.DESCRIPTION) or b"{}", str(results.DESCRIPTION)).image
    except PipelineError as error:
        return {}, [f"no pictures of digits of {revision}: {error}"]
    for side in predictions:
        path, entry = results.errors(side.name), stages.get(f"report@{side.name}", {})
        files = str(path), str(results.predictions(side.name))
        recorded = {**digests(entry, "deps"), **digests(entry, "outs")}
        try:
            content = revision.read(path)
            if content is None:
                missing.append(f"{path}: not in {revision}, so these digits have no pictures")
            elif any(recorded.get(file) != revision.digest(file) for file in files):
                missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
            else:
                with unreadable(f"{path} in {revision}", "a picture of digits"):
                    images.update(zip(side.errors["index"], tiles.read(content, *shape), strict=False))
        except PipelineError as error:
            missing.append(f"no pictures of digits of {side.name}: {error}")
    return images, missing
