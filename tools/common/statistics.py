"""Computes how far test results can be trusted: intervals, and tests of a difference."""

import numpy as np
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Computes Wilson's score interval for a proportion (E. B. Wilson, JASA 22:209-212, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return round(interval.low, 6), round(interval.high, 6)


def mcnemar(fixed: int, broke: int) -> float:
    """Computes the two-sided p of McNemar's exact test (Q. McNemar, Psychometrika 12:153-157, 1947).

    `fixed` images are right only with the new classifier, `broke` images only with the old one. If both err
    equally often, each such image falls on either side like a fair coin.
    """
    return float(binomtest(fixed, fixed + broke).pvalue) if fixed + broke else 1.0


def holm(values: list[float]) -> list[float]:
    """Adjusts p-values for multiple tests (S. Holm, Scandinavian Journal of Statistics 6:65-70, 1979).

    If adjusted values below α count as evidence, the chance of one or more false findings among all is at most α.
    """
    ascending = np.argsort(values, kind="stable")
    scaled = np.array(values)[ascending] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[ascending] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
