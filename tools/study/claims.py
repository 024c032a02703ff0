"""The tutorials' claims, each a comparison of two recipes."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.results.predictions import Predictions
from tools.common.changes import percent
from tools.common.charts import OURS
from tools.common.statistics import accuracy_interval, difference, holm

# base, head, what is claimed
CLAIMS = (
    ("mlp_256", "mlp_1000", "1,000 units are better than 256"),
    ("mlp_1000", "mlp_1000_dropout", "dropout helps"),
    ("mlp_1000_dropout", "mlp_1000x2_dropout", "a second layer helps again"),
    ("cnn_1x28x28", "cnn", "(ours) a convolution over the image beats the layout as printed"),
)


def claims_table(models: dict[str, Predictions], confidence: float) -> pd.DataFrame:
    """Answers each claim: difference and its ± in percentage points, p (adjusted by Holm), and a verdict."""
    compared = [difference(models[base].right, models[head].right) for base, head, _ in CLAIMS]
    adjusted = holm([item.p for item in compared])
    rows = [
        {
            "claim": claim,
            "base": base,
            "head": head,
            "seeds": len(models[base].seeds),
            "difference": round(100 * item.estimate, 3),
            "margin": round(100 * item.margin(confidence), 3),
            "p": float(f"{p:.2g}"),
            "verdict": _verdict(item.estimate, p, confidence),
        }
        for (base, head, claim), item, p in zip(CLAIMS, compared, adjusted, strict=True)
    ]
    return pd.DataFrame(rows)


def _verdict(estimate: float, p: float, confidence: float) -> str:
    if p >= 1 - confidence:
        return "not shown"
    return "holds" if estimate > 0 else "the reverse holds"


def page(models: dict[str, Predictions], claims: pd.DataFrame, honesty: pd.DataFrame, confidence: float) -> str:
    """Writes the tables as Markdown."""
    lines = [
        "# What many seeds tell",
        "",
        "Written by `make study`, from the trainings in [params.yaml](params.yaml). [How recipes are compared]"
        "(../reviewing.md).",
        "",
        "## The tutorials' claims",
        "",
        "![Test accuracy of each seed](claims.png)",
        "",
        "| claim | difference, points | p (Holm) | |",
        "|---|---:|---:|---|",
        *(
            f"| {row.claim}: `{row.base}` → `{row.head}` | {row.difference:+.2f} ± {row.margin:.2f} | {row.p:.2g} "
            f"| {row.verdict} |"
            for row in claims.itertuples()
        ),
        "",
        f"| architecture | mean test accuracy, {next(iter(models.values())).several} "
        f"| {confidence:.0%} interval | sd over seeds, points | smallest – largest |",
        "|---|---:|---:|---:|---:|",
        *(_row(name, found, confidence) for name, found in models.items()),
        *(_honesty(honesty) if len(honesty) else ()),
    ]
    return "\n".join(lines) + "\n"


def _honesty(honesty: pd.DataFrame) -> list[str]:
    """The lines about the test of the comparison."""
    return [
        "",
        "## Is the comparison honest?",
        "",
        "Random groups of seeds of one recipe are compared: whatever is found is false. Groups of two recipes show "
        f"what is found of a true difference. {honesty['draws'][0]:,} draws each; ± is the mean margin: a smaller "
        "difference cannot be told from chance.",
        "",
        "| compared | seeds on each side | true difference, points | ±, points | a change is said to be real in |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| `{row.base}` with {'itself' if row.base == row.head else f'`{row.head}`'} | {row.seeds} "
            f"| {row.difference:+.2f} | {row.margin:.2f} | {row.found:.1%} |"
            for row in honesty.itertuples()
        ),
    ]


def _row(name: str, found: Predictions, confidence: float) -> str:
    each = found.right.mean(axis=1)
    low, high = accuracy_interval(found.right, confidence)
    spread = f"{100 * each.std(ddof=1):.2f}" if len(each) > 1 else "–"
    return (
        f"| `{name}` | {percent(each.mean())} | {percent(low)} – {percent(high)} | {spread} "
        f"| {percent(each.min())} – {percent(each.max())} |"
    )


def chart(models: dict[str, Predictions], confidence: float) -> Figure:
    """Draws the accuracy of each seed, and the mean with its interval."""
    figure = Figure(figsize=(8, 0.55 * len(models) + 1.4), layout="constrained")
    axis = figure.subplots()
    for place, found in enumerate(models.values()):
        each, (low, high) = found.right.mean(axis=1), accuracy_interval(found.right, confidence)
        labels = (f"one seed, of {len(each)}", f"mean, {confidence:.0%} interval") if not place else (None, None)
        axis.plot(each, np.full(len(each), place), "|", color=OURS, alpha=0.6, markersize=14, label=labels[0])
        spread = [[each.mean() - low], [high - each.mean()]]
        axis.errorbar(each.mean(), place, xerr=spread, fmt="o", color="black", capsize=3, label=labels[1])
    axis.set_yticks(range(len(models)), models)
    axis.set(xlabel="test accuracy", title="What one seed tells, and what ten tell")
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
