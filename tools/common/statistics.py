"""Computes how far test results can be trusted: intervals, and tests of a difference."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, t


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Computes Wilson's score interval for a proportion (E. B. Wilson, JASA 22:209-212, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return round(interval.low, 6), round(interval.high, 6)


def mcnemar(fixed: int, broke: int) -> float:
    """Computes the two-sided p of McNemar's exact test (Q. McNemar, Psychometrika 12:153-157, 1947).

    `fixed` images are right only with the new classifier, `broke` images only with the old one.
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


@dataclass(frozen=True)
class Difference:
    """A difference of two mean accuracies: its estimate, standard error, degrees of freedom and two-sided p."""

    estimate: float
    error: float
    freedom: float
    p: float

    def margin(self, confidence: float) -> float:
        """Half the width of the interval around the estimate; a smaller difference cannot be told from chance."""
        return float(t.ppf((1 + confidence) / 2, self.freedom) * self.error)


def accuracy_interval(right: np.ndarray, confidence: float) -> tuple[float, float]:
    """Computes an interval around a recipe's mean accuracy, for other seeds and other test images.

    With one seed, or if all models get all images right, or all wrong, it is Wilson's, for other test images alone.
    Else the variance of the mean is `between / seeds + shared`, as in `difference`. With one image, it is NaN then.

    Args:
        right: whether each seed's model is right on each test image, bool (seeds, images).
        confidence: level of the interval.
    """
    seeds, images = right.shape
    if seeds == 1 or right.all() or not right.any():
        return wilson_interval(int(right[0].sum()), images, confidence)
    if images == 1:
        return math.nan, math.nan
    between, (shared,), freedom = _components(_covariance(right), [right.mean(axis=1)])
    mean = float(right.mean())
    margin = _difference(mean, between / seeds, shared, freedom).margin(confidence)
    return round(max(mean - margin, 0), 6), round(min(mean + margin, 1), 6)


def difference(base: np.ndarray, head: np.ndarray) -> Difference:
    """Tests whether two recipes differ in mean accuracy, over other seeds and other test images.

    Each model reads each image. This is the analysis of N. A. Obuchowski and H. E. Rockette (Communications in
    Statistics - Simulation 24:285-308, 1995) for readers (seeds) that read cases (images), each reader in one of two
    conditions, with the degrees of freedom of S. L. Hillis (Statistics in Medicine 33:330-360, 2014). The variance is

        between × (1/seeds_base + 1/seeds_head) + (shared_base + shared_head - 2 × cross)

    `between` is the variance of the accuracy between seeds, pooled over both sides, but at least what independent
    errors of the models give. `shared` and `cross` come from the choice of images: the mean covariances of two models
    of one side, and of both sides. What a side with one seed cannot show is taken from the other side. Models with the
    same seed are not paired: it decides other weights in other layers.

    With one seed on each side, two models are compared, not two recipes: the variance is that over images alone, and p
    is McNemar's exact test. One image has no variance: then the standard error is NaN, and p is 1.

    Args:
        base, head: whether each seed's model is right on each test image, bool (seeds, images); the same images.
    """
    estimate = float(head.mean() - base.mean())
    if head.shape[1] == 1:
        return Difference(estimate, math.nan, math.inf, 1.0)
    covariance = _covariance(np.concatenate([base, head]))
    cross = covariance[: len(base), len(base) :].mean()
    if len(base) == len(head) == 1:
        images = np.trace(covariance) - 2 * cross
        p = mcnemar(int((head & ~base).sum()), int((base & ~head).sum()))
        return Difference(estimate, float(np.sqrt(max(images, 0))), np.inf, p)
    sides = [side.mean(axis=1) for side in (base, head)]
    between, shared, freedom = _components(covariance, sides)
    return _difference(estimate, between * (1 / len(base) + 1 / len(head)), sum(shared) - 2 * cross, freedom)


def _covariance(right: np.ndarray) -> np.ndarray:
    """Estimates covariances of the models' accuracies over the choice of images, (models, models)."""
    return np.cov(right.astype(float)) / right.shape[1]


def _components(covariance: np.ndarray, accuracies: list[np.ndarray]) -> tuple[float, np.ndarray, int]:
    """Estimates the variance between seeds, the covariance of two models of each side, and the degrees of freedom.

    `covariance` is that of all models, side by side, (models, models); `accuracies` are those of the models of each
    side, (seeds,), of which one has several.
    """
    counts = [len(side) for side in accuracies]
    freedom = sum(counts) - len(counts)
    ends = np.cumsum(counts)
    blocks = [covariance[end - count : end, end - count : end] for count, end in zip(counts, ends, strict=True)]
    shared = np.array([block[~np.eye(len(block), dtype=bool)].mean() if len(block) > 1 else np.nan for block in blocks])
    shared = np.where(np.isnan(shared), np.nanmean(shared), shared)
    observed = sum(((side - side.mean()) ** 2).sum() for side in accuracies) / freedom
    independent = np.trace(covariance) / len(covariance) - np.average(shared, weights=counts)
    return max(observed, independent), shared, freedom


def _difference(estimate: float, seeds: float, images: float, freedom: int) -> Difference:
    variance = seeds + max(images, 0)
    hillis = freedom * (variance / seeds) ** 2 if seeds else math.inf
    error = float(np.sqrt(variance))
    p = 2 * t.sf(abs(estimate) / error, hillis) if error else float(estimate == 0)
    return Difference(float(estimate), error, float(hillis), float(p))
