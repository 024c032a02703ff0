"""How far test results can be trusted: intervals, and tests of a difference."""

import numpy as np
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval for a proportion (E. B. Wilson, JASA 22:209-212, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return round(interval.low, 6), round(interval.high, 6)


def mcnemar(fixed: int, broke: int) -> float:
    """Two-sided p of McNemar's test, exact (Q. McNemar, Psychometrika 12:153-157, 1947).

    Of the images on which exactly one of two classifiers is right, `fixed` and `broke` are right only
    with the one or the other. If both classifiers err equally often, either is a fair coin's count.
    """
    return float(binomtest(fixed, fixed + broke).pvalue) if fixed + broke else 1.0


def holm(values: list[float]) -> list[float]:
    """p-values adjusted for being several (S. Holm, Scandinavian Journal of Statistics 6:65-70, 1979).

    An adjusted value below α is evidence such that the chance of one false finding or more among all
    is below α.
    """
    ascending = np.argsort(values, kind="stable")
    scaled = np.array(values)[ascending] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[ascending] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
