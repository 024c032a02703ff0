"""Intervals and tests of a difference, against published examples and what defines them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.common.statistics import holm, mcnemar, wilson_interval


def test_wilson_interval_is_the_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, method 3
    low, high = wilson_interval(81, 263, 0.95)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(
    ("fixed", "broke", "expected"),
    [
        (1, 9, 2 * (1 + 10) / 2**10),  # both tails of ten tosses of a fair coin: none or one head
        (9, 1, 2 * (1 + 10) / 2**10),
        (5, 5, 1),
        (0, 0, 1),
        (0, 20, 2 / 2**20),
    ],
)
def test_mcnemar_is_the_chance_of_a_fair_coin(fixed: int, broke: int, expected: float) -> None:
    assert mcnemar(fixed, broke) == pytest.approx(expected, rel=1e-9)


def test_holm_takes_the_smallest_times_all_and_the_next_times_one_less() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.randoms())
def test_holm_only_raises_p_and_does_not_depend_on_the_order(values: list[float], random) -> None:
    adjusted = holm(values)
    assert all(before <= after <= 1 for before, after in zip(values, adjusted, strict=True))
    order = random.sample(range(len(values)), len(values))
    shuffled = holm([values[place] for place in order])
    assert np.allclose(shuffled, [adjusted[place] for place in order])
