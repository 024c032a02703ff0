"""Tests the tutorials' claims, and the comparison of recipes, with many seeds: `python -m research.seeds`.

Trains in a copy of the project. Writes two tables and a picture beside this file, and prints the tables of README.md.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from dvc.utils.serialize import modify_yaml
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.common.files import write_text
from stages.results.pictures import save
from stages.results.predictions import Predictions
from stages.support.params import PARAMS_PATH, load_params
from tools.common import results
from tools.common.changes import percent
from tools.common.charts import OURS
from tools.common.statistics import accuracy_interval, difference, holm
from tools.common.surroundings import copy_project

HERE = Path(__file__).parent
SEEDS = range(10, 20)
MORE = {"mlp_256": range(10, 50), "mlp_1000": range(10, 30)}  # seeds with which the comparison is tested
GROUPS, DRAWS = (2, 3, 5), 1000  # seeds on each side, and how often they are drawn
CLAIMS = (  # base, head, what is claimed
    ("mlp_256", "mlp_1000", "1,000 units are better than 256"),
    ("mlp_1000", "mlp_1000_dropout", "dropout helps"),
    ("mlp_1000_dropout", "mlp_1000x2_dropout", "a second layer helps again"),
    ("cnn_1x28x28", "cnn", "(ours) a convolution over the image beats the layout as printed"),
)

Models = dict[str, Predictions]


def train(project: Path, names: Iterable[str], seeds: Iterable[int]) -> Models:
    """Trains and evaluates architectures with these seeds, in a copy of the project."""
    with modify_yaml(project / PARAMS_PATH) as params:
        params["train"]["seeds"] = list(seeds)
    stages = [f"evaluate@{name}" for name in names]
    subprocess.run([sys.executable, "-m", "tools.repro", *stages], cwd=project, check=True)
    return {name: Predictions.read(project / results.predictions(name), name, list(seeds)) for name in names}


def claims_table(models: Models, confidence: float) -> pd.DataFrame:
    """Tests each claim: difference and its ± in percentage points, p (adjusted by Holm), and a verdict."""
    compared = [difference(models[base].right, models[head].right) for base, head, _ in CLAIMS]
    rows = []
    for (base, head, claim), item, p in zip(CLAIMS, compared, holm([each.p for each in compared]), strict=True):
        verdict = "not shown" if p >= 1 - confidence else "holds" if item.estimate > 0 else "the reverse holds"
        points = round(100 * item.estimate, 3), round(100 * item.margin(confidence), 3)
        rows.append((claim, base, head, len(models[base].seeds), *points, float(f"{p:.2g}"), verdict))
    return pd.DataFrame(rows, columns=["claim", "base", "head", "seeds", "difference", "margin", "p", "verdict"])


def honesty_table(models: Models, confidence: float) -> pd.DataFrame:
    """Compares random groups of seeds: of one recipe, where a difference is a false finding; and of two recipes.

    Returns:
        base, head, seeds (on each side), draws, difference (of the mean accuracies of all seeds, in percentage points),
        margin (mean ± of the comparisons, in points), found (share of the draws with a p below 1 - confidence).
    """
    random, rows = np.random.default_rng(0), []
    for base, head in [*((name, name) for name in models), *combinations(models, 2)]:
        points = 100 * (models[head].accuracy - models[base].accuracy)
        for seeds in GROUPS:
            compared = [difference(*_draw(models[base], models[head], seeds, random)) for _ in range(DRAWS)]
            margin = 100 * float(np.mean([item.margin(confidence) for item in compared]))
            shown = float(np.mean([item.p < 1 - confidence for item in compared]))
            rows.append((base, head, seeds, DRAWS, round(points, 3), round(margin, 3), shown))
    return pd.DataFrame(rows, columns=["base", "head", "seeds", "draws", "difference", "margin", "found"])


def _draw(base: Predictions, head: Predictions, seeds: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draws two groups of models, without one in common if both are of the same recipe."""
    first = random.permutation(len(base.seeds))
    second = first[seeds:] if base is head else random.permutation(len(head.seeds))
    return base.right[first[:seeds]], head.right[second[:seeds]]


def tables(models: Models, claims: pd.DataFrame, honesty: pd.DataFrame, confidence: float) -> Iterator[str]:
    """Yields the rows of the tables of README.md."""
    for row in claims.itertuples():
        compared = f"{row.claim}: `{row.base}` → `{row.head}`"
        yield f"| {compared} | {row.difference:+.2f} ± {row.margin:.2f} | {row.p:.2g} | {row.verdict} |"
    for name, predictions in models.items():
        accuracies, (low, high) = predictions.right.mean(axis=1), accuracy_interval(predictions.right, confidence)
        figures = (
            f"{percent(accuracies.mean())} | {percent(low)} – {percent(high)} | {100 * accuracies.std(ddof=1):.2f}"
        )
        yield f"| `{name}` | {figures} | {percent(accuracies.min())} – {percent(accuracies.max())} |"
    for row in honesty.itertuples():
        compared = f"`{row.base}` with {'itself' if row.base == row.head else f'`{row.head}`'}"
        yield f"| {compared} | {row.seeds} | {row.difference:+.2f} | {row.margin:.2f} | {row.found:.1%} |"


def chart(models: Models, confidence: float) -> Figure:
    """Draws the accuracy of each seed, and the mean with its interval."""
    figure = Figure(figsize=(8, 0.55 * len(models) + 1.4), layout="constrained")
    axis = figure.subplots()
    for place, predictions in enumerate(models.values()):
        accuracies, interval = predictions.right.mean(axis=1), accuracy_interval(predictions.right, confidence)
        axis.plot(accuracies, [place] * len(accuracies), "|", color=OURS, alpha=0.6, markersize=14)
        axis.plot(interval, [place] * 2, color="black")
        axis.plot(accuracies.mean(), place, "o", color="black")
    axis.set_yticks(range(len(models)), models)
    axis.set(xlabel=f"test accuracy of each seed; mean, {confidence:.0%} interval")
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return figure


def main() -> None:
    """Trains, and writes what follows."""
    confidence = load_params().overview.confidence
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copy_project(project)
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        models = train(project, dict.fromkeys(name for claim in CLAIMS for name in claim[:2]), SEEDS)
        more = {name: train(project, [name], seeds)[name] for name, seeds in MORE.items()}
    claims, honesty = claims_table(models, confidence), honesty_table(more, confidence)
    for name, table in (("claims", claims), ("honesty", honesty)):
        write_text(HERE / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    save(chart(models, confidence), HERE / "claims.png")
    print(*tables(models, claims, honesty, confidence), sep="\n")


if __name__ == "__main__":
    main()
