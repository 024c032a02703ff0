"""Lists the digits that became wrong or right."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from stages.results.predictions import Predictions
from tools.common.changes import Comparison


@dataclass(frozen=True)
class Digit:
    """A test image that became right or wrong, for more than half of the seeds.

    `old` and `new` are the predictions that most seeds give; on the side that is wrong, that most wrong seeds give.
    `probability` is that of the wrong one. `seeds_wrong` counts the seeds that get it wrong, as `0 → 2`; if the sides
    have not as many seeds, as `0 of 1 → 2 of 3`.
    """

    index: int
    label: int
    old: int
    new: int
    probability: float
    seeds_wrong: str

    @property
    def wrong(self) -> int:
        """The wrong prediction, which is the old or the new one."""
        return self.old if self.new == self.label else self.new


def newly_wrong(change: Comparison) -> list[Digit]:
    """Lists the digits that became wrong, errors of most seeds first."""
    return _digits(change, change.broke, change.head)


def newly_right(change: Comparison) -> list[Digit]:
    """Lists the digits that became right, errors of most seeds first."""
    return _digits(change, change.fixed, change.base)


def _digits(change: Comparison, indices: np.ndarray, wrong: Predictions) -> list[Digit]:
    """Lists the digits at `indices`; `wrong` is the side that gets them wrong."""
    old, new = change.base.most_common, change.head.most_common
    right = change.base.right, change.head.right
    unequal = len(right[0]) != len(right[1])
    digits = []
    for row in wrong.errors[wrong.errors["index"].isin(indices)].itertuples(index=False):
        index, predicted = int(row.index), int(row.prediction)
        pair = (int(old[index]), predicted) if wrong is change.head else (predicted, int(new[index]))
        seeds = " → ".join(f"{(~side[:, index]).sum()}" + f" of {len(side)}" * unequal for side in right)
        digits.append(Digit(index, int(row.label), *pair, float(row.probability), seeds))
    return digits


def by_pair(digits: list[Digit], names: list[int] | list[str]) -> list[tuple[str, str]]:
    """Groups the digits by label and wrong prediction, most frequent pair first: `("7 as 2", "340, 1226")`."""
    numbers = defaultdict(list)
    for digit in digits:
        numbers[digit.label, digit.wrong].append(str(digit.index))
    pairs = sorted(numbers.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(f"{names[label]} as {names[wrong]}", ", ".join(indices)) for (label, wrong), indices in pairs]
