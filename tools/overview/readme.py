"""Updates the results table and picture of README.md from the overview (`make readme`)."""

import argparse
import math
import shutil
from pathlib import Path

import pandas as pd

from stages.common.files import replacing, write_text
from stages.support.errors import PipelineError, command
from stages.support.params import load_params
from tools.common.results import COMPARISON, COMPARISON_CHART
from tools.common.templates import escaped
from tools.overview.drawing import OverviewPage

README, PICTURE = Path("README.md"), Path(".github/comparison.png")
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


def results_table(comparison: pd.DataFrame) -> str:
    """Formats the table of `tools.common.comparison.comparison_table` as Markdown."""
    dataset, confidence = escaped(" ".join(comparison["dataset"][0].split())), comparison["confidence"][0]
    seeds = comparison["seeds"].max()
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    lines = [
        f"| architecture | test accuracy on {dataset}{mean} | {confidence:.0%} interval | errors | parameters "
        "| published |",
        "|---|---|---|---|---|---|",
    ]
    for row in comparison.itertuples():
        interval, published = f"{row.low:.2%} – {row.high:.2%}", f"{row.published:.2%}, {row.published_is} the interval"
        if math.isnan(row.low):
            interval, published = "–", f"{row.published:.2%}"
        lines.append(
            f"| `{row.architecture}` | {row.accuracy:.2%} | {interval} | {row.errors:.4g} | {row.parameters:,} "
            f"| {'' if math.isnan(row.published) else published} |"
        )
    return "\n".join(lines) + "\n"


def with_table(readme: str, table: str) -> str:
    """Replaces the text between the two result marks of the README."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise PipelineError(f"{README}: expected {BEGIN.strip()!r} and {END.strip()!r} around the table")
    return head + BEGIN + table + END + tail


@command
def main() -> None:
    """Updates the results table and picture of README.md from the overview."""
    argparse.ArgumentParser(prog="python -m tools.overview.readme", description=main.__doc__).parse_args()
    comparison = OverviewPage.read(load_params()).tables[COMPARISON]
    write_text(README, with_table(README.read_text(encoding="utf-8"), results_table(comparison)))
    with replacing(PICTURE) as partial:
        shutil.copyfile(COMPARISON_CHART, partial)


if __name__ == "__main__":
    main()
