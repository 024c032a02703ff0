"""Tests the comparison of recipes (`tools.common.statistics.difference`) with many trained models."""

from itertools import combinations

import numpy as np
import pandas as pd

from stages.results.predictions import Predictions
from tools.common.statistics import difference

GROUPS = (2, 3, 5)  # seeds on each side
DRAWS = 1000


def honesty_table(models: dict[str, Predictions], confidence: float) -> pd.DataFrame:
    """Compares random groups of seeds: of one recipe, where a difference is a false finding; and of two recipes.

    Leaves out groups for which there are too few seeds.

    Returns:
        base, head, seeds (on each side), draws, difference (of the mean accuracies of all seeds, in percentage points),
        margin (mean ± of the comparisons, in points), found (share of the draws with a p below 1 - confidence).
    """
    random = np.random.default_rng(0)
    pairs = [(name, name) for name in models] + list(combinations(models, 2))
    rows = []
    for base, head in pairs:
        most = min(len(models[base].right) // (2 if base == head else 1), len(models[head].right))
        for seeds in filter(lambda seeds: seeds <= most, GROUPS):
            drawn = [_draw(models[base].right, models[head].right, seeds, base == head, random) for _ in range(DRAWS)]
            compared = [difference(*sides) for sides in drawn]
            rows.append(
                {
                    "base": base,
                    "head": head,
                    "seeds": seeds,
                    "draws": DRAWS,
                    "difference": round(100 * (models[head].accuracy - models[base].accuracy), 3),
                    "margin": round(100 * float(np.mean([item.margin(confidence) for item in compared])), 3),
                    "found": float(np.mean([item.p < 1 - confidence for item in compared])),
                }
            )
    return pd.DataFrame(rows, columns=["base", "head", "seeds", "draws", "difference", "margin", "found"])


def _draw(
    base: np.ndarray, head: np.ndarray, seeds: int, same: bool, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws two groups of models, without one in common if both are of the same recipe."""
    first = random.permutation(len(base))
    second = first[seeds:] if same else random.permutation(len(head))
    return base[first[:seeds]], head[second[:seeds]]
