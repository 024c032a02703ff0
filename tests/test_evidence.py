"""Intervals and tests of a difference, against published examples and what defines them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.common.statistics import accuracy_interval, difference, holm, mcnemar, wilson_interval


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


def draw(rate: np.ndarray, seeds: int, random: np.random.Generator) -> np.ndarray:
    """Models that are right on each image with its own probability, and differ as a whole by seed."""
    luck = random.normal(0, 0.3, (seeds, 1))
    return random.random((seeds, len(rate))) < 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - luck))


@pytest.mark.parametrize("seeds", [(3, 3), (1, 3), (2, 5)])
def test_recipes_that_are_the_same_are_seldom_said_to_differ(seeds: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    rates = [1 - random.beta(0.05, 1, 2000).clip(1e-6, 1 - 1e-6) for _ in range(200)]
    found = [difference(*(draw(rate, count, random) for count in seeds)).p for rate in rates]
    assert np.mean(np.array(found) < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(found))


def test_recipes_that_differ_are_told_apart_and_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(0)
    told, covered = 0, 0
    for _ in range(100):
        rate = 1 - random.beta(0.05, 1, 2000).clip(1e-6, 1 - 1e-6)
        better = rate + 0.6 * (1 - rate)
        told += difference(draw(rate, 3, random), draw(better, 3, random)).p < 0.05
        low, high = accuracy_interval(draw(rate, 3, random), 0.95)
        covered += low < 0.953 < high  # the mean rate of any images
    assert told >= 90
    assert covered >= 90


def test_one_seed_on_each_side_is_mcnemars_test() -> None:
    base, head = np.zeros((1, 100), bool), np.zeros((1, 100), bool)
    head[0, :8] = base[0, 8] = True
    assert difference(base, head).p == pytest.approx(2 * 10 / 2**9)
