"""Intervals and tests of a difference, against published examples and figures worked out by hand."""

from math import inf, isnan, sqrt

import numpy as np
import pytest
from scipy.stats import t

from tools.common.statistics import Difference, accuracy_interval, difference, holm, mcnemar, wilson_interval


def test_wilson_interval_is_the_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, method 3
    low, high = wilson_interval(81, 263, 0.95)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


# both tails of ten tosses of a fair coin, none or one head; and so on
@pytest.mark.parametrize(
    ("fixed", "broke", "expected"),
    [(1, 9, 2 * 11 / 2**10), (9, 1, 2 * 11 / 2**10), (5, 5, 1), (0, 0, 1), (0, 20, 2 / 2**20)],
)
def test_mcnemar_is_the_chance_of_a_fair_coin(fixed: int, broke: int, expected: float) -> None:
    assert mcnemar(fixed, broke) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # times 3, 1 (but not below 0.06), 2, 4
        ([0.6, 0.7], [1, 1]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_takes_the_smallest_times_all_and_the_next_times_one_less(values: list, adjusted: list) -> None:
    assert holm(values) == pytest.approx(adjusted)


def models(*rows: str) -> np.ndarray:
    """Whether each model is right on each image: a row of 0 and 1 for each model."""
    return np.array([[character == "1" for character in row] for row in rows])


# Five images. Var and cov of two models' accuracies: (images both get right - 5 × product of accuracies) / 4 / 5.
#
# The first case. Accuracies 1/5, 4/5 | 4/5, 4/5, 4/5; estimate 4/5 - 1/2.
#   var = 1/25 each. cov: base (1 - 4/5)/20 = 1/100; head (3 - 16/5)/20 = -1/100 twice and 1/25, mean 1/150;
#   cross: 1/100, -1/25, -1/25, -1/100, -1/100, -1/100, mean -1/60
#   between seeds: (9/100 + 9/100 + 0) / 3 = 3/50, above its floor 1/25 - (2/100 + 3/150)/5 = 4/125
#   of seeds: 3/50 × (1/2 + 1/3) = 1/20. Of images: 1/100 + 1/150 + 2/60 = 1/20. Degrees of freedom: 3 × 2² = 12
# In the second, between seeds is the floor, 9/250, as 7/450 was observed. In the third, base has one seed, and gets the
# covariance of the head, 3/100. In the fourth, that of images is 2/100 + 2/100 - 2 × 11/400 < 0, so it counts as 0.
@pytest.mark.parametrize(
    ("base", "head", "estimate", "variance", "freedom"),
    [
        (models("00010", "11011"), models("11110", "11101", "11101"), 3 / 10, 1 / 20 + 1 / 20, 12),
        (models("00111", "01111"), models("11010", "11101", "11011"), 1 / 30, 3 / 100 + 7 / 100, 100 / 3),
        (models("00011"), models("10100", "11100", "11110"), 1 / 5, 4 / 75 + 11 / 75, 225 / 8),
        (models("11110", "11000"), models("11100", "10000"), -1 / 5, 2 / 25, 2),
    ],
)
def test_the_comparison_of_recipes_is_obuchowskis_and_rocketts_with_hilliss_degrees_of_freedom(
    base: np.ndarray, head: np.ndarray, estimate: float, variance: float, freedom: float
) -> None:
    forth, back = difference(base, head), difference(head, base)
    assert forth.estimate == pytest.approx(estimate, rel=1e-12)
    assert forth.error == pytest.approx(sqrt(variance), rel=1e-12)
    assert forth.freedom == pytest.approx(freedom, rel=1e-12)
    assert forth.p == pytest.approx(2 * t.cdf(-abs(estimate) / sqrt(variance), freedom), rel=1e-9)
    assert (back.estimate, back.error, back.p) == pytest.approx((-forth.estimate, forth.error, forth.p))


def test_one_seed_on_each_side_is_mcnemars_test_with_the_variance_over_images() -> None:
    base, head = models("1000000000"), models("0111100000")
    compared = difference(base, head)
    assert compared.p == pytest.approx(2 * 6 / 2**5)  # one of five
    # var (1 - 1/10)/90 and (4 - 16/10)/90, cov (0 - 4/10)/90
    assert compared.error == pytest.approx(sqrt((0.9 + 2.4 + 2 * 0.4) / 90))
    assert (compared.estimate, compared.freedom) == (pytest.approx(0.3), inf)
    assert compared.margin(0.95) == pytest.approx(1.959964 * compared.error, rel=1e-6)
    assert Difference(0.1, 0.5, 2, 0.9).margin(0.95) == pytest.approx(0.5 * 4.302653)


def test_without_any_spread_a_difference_is_certain_and_one_image_gives_no_variance() -> None:
    all_right, all_wrong = models("111", "111"), models("000", "000")
    assert difference(all_right, all_right).p == 1
    compared = difference(all_right, all_wrong)
    assert (compared.estimate, compared.error, compared.p, compared.freedom) == (-1, 0, 0, inf)
    compared = difference(models("1", "1"), models("0"))
    assert (compared.estimate, compared.p) == (-1, 1)
    assert isnan(compared.error)
    assert np.isnan(accuracy_interval(models("1", "0"), 0.95)).all()


@pytest.mark.parametrize(
    ("right", "confidence", "expected"),
    [
        # between seeds 2/25, above its floor 3/100; cov 1/50: variance 1/25 + 1/50, 1 × (3/2)² degrees of freedom
        (models("11110", "11000"), 0.5, (0.6 - t.ppf(0.75, 2.25) * sqrt(0.06), 0.6 + t.ppf(0.75, 2.25) * sqrt(0.06))),
        # between seeds 0, below its floor 1/10; cov -1/25, which counts as 0: one degree of freedom, quartile 1
        (models("11000", "00110"), 0.5, (0.4 - sqrt(0.05), 0.4 + sqrt(0.05))),
        (models("11110", "11000"), 0.95, (0, 1)),
        (models("1111111111"), 0.95, (0.722467, 1)),  # 10 / (10 + 1.959964²)
        (models("0000000000", "0000000000"), 0.95, (0, 0.277533)),
    ],
)
def test_the_interval_around_a_mean_accuracy(right: np.ndarray, confidence: float, expected: tuple) -> None:
    assert accuracy_interval(right, confidence) == tuple(round(value, 6) for value in expected)
