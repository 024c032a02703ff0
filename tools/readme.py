"""Writes the results table in README.md anew from plots/comparison.csv (`make readme`)."""

import argparse
import math
from pathlib import Path

import pandas as pd

from stages.errors import PipelineError, command
from stages.files import write_text

README, COMPARISON = Path("README.md"), Path("plots/comparison.csv")
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


def results_table(comparison: pd.DataFrame) -> str:
    """A Markdown table of what `stages.tables.compare` gave."""
    dataset = comparison["dataset"][0]
    lines = [
        f"| architecture | test accuracy on {dataset} | 95 % interval | errors | parameters | published |",
        "|---|---|---|---|---|---|",
    ]
    for row in comparison.itertuples():
        published = "" if math.isnan(row.published) else f"{row.published:.2%}, {row.published_is} the interval"
        lines.append(
            f"| `{row.architecture}` | {row.accuracy:.2%} | {row.low:.2%} – {row.high:.2%} | {row.errors} "
            f"| {row.parameters:,} | {published} |"
        )
    return "\n".join(lines) + "\n"


def with_table(readme: str, table: str) -> str:
    """The README with the text between its two result marks replaced."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise PipelineError(f"{README}: expected the marks {BEGIN.strip()!r} and {END.strip()!r}, found none")
    return head + BEGIN + table + END + tail


@command
def main() -> None:
    """Writes the results table in README.md anew from plots/comparison.csv."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the table is current")
    arguments = parser.parse_args()
    current = README.read_text(encoding="utf-8")
    wanted = with_table(current, results_table(pd.read_csv(COMPARISON)))
    if arguments.check and current != wanted:
        raise PipelineError(f"{README}: the results table does not match {COMPARISON}; run: make readme")
    if not arguments.check:
        write_text(README, wanted)


if __name__ == "__main__":
    main()
