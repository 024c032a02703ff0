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

    With one seed it is Wilson's, for other test images alone. With several, see `difference`: the variance of the mean
    is `between / seeds + shared`, with the same degrees of freedom. If all models are right on all images, or wrong, no
    variance is seen, and it is Wilson's too. It is NaN for several seeds and one image, on which some are right.

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
    margin = _difference(right.mean(), between / seeds, shared, freedom).margin(confidence)
    return round(max(float(right.mean()) - margin, 0), 6), round(min(float(right.mean()) + margin, 1), 6)


def difference(base: np.ndarray, head: np.ndarray) -> Difference:
    """Tests whether two recipes differ in mean accuracy, over other seeds and other test images.

    Seeds and test images are crossed: each model reads each image. This is the analysis of N. A. Obuchowski and H. E.
    Rockette (Communications in Statistics - Simulation 24:285-308, 1995) for readers (seeds) that read cases (images),
    each reader in one of two conditions, with the degrees of freedom of S. L. Hillis (Statistics in Medicine
    26:596-619, 2007; 33:330-360, 2014). X. Bouthillier et al. (MLSys 2021) show why seeds must be sampled. The variance
    of the difference is

        between × (1/seeds_base + 1/seeds_head) + (shared_base + shared_head - 2 × cross)

    `between` is the variance of the accuracy between seeds, pooled over both sides, but at least what independent
    errors of the models give. The rest is the variance that comes from the choice of images: the mean covariances of
    two models of one side (`shared`) and of both sides (`cross`), divided by the number of images. What a side with one
    seed cannot show is taken from the other side. Models with the same seed on both sides are not paired: the seed
    decides other weights in other layers, and three pairs would leave two degrees of freedom.

    With one seed on each side the variance is that over images alone, and p is McNemar's exact test: it compares two
    models, not two recipes. One image has no variance: then the standard error is NaN, and p is 1.

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
    """Estimates the variance between seeds and the covariance of two models of each side; a side has several seeds.

    Args:
        covariance: of all models, side by side, (models, models).
        accuracies: of the models of each side, (seeds,).

    Returns:
        The variance, the covariances, (sides,), and the degrees of freedom of the variance.
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
