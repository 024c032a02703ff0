"""Writes a review of a change, as Markdown and as HTML, from git alone (`make review`).

Compares the workspace, or a revision, with a base revision. All that it reads is in git, so it works in a clone
without DVC's cache or a remote. It runs nothing of the revisions, follows no link, needs no server, and reads no more
than `tools.common.revision` allows, so that a branch from a stranger is safe to review. Exit status: 0 written; 1 an
error, and nothing written; 2 a mistake in the command line; 3 written, but a gate of --fail-on failed.
"""

import argparse
import sys
from pathlib import Path

from stages.common.files import write_text
from stages.support.errors import PipelineError, command, printable
from stages.support.params import Overview
from tools.common.revision import WORKSPACE, Revision
from tools.review.content import GATES, Review
from tools.review.page import html, markdown

GATE_FAILED = 3
DEFAULT_CONFIDENCE = 0.95  # where the base's params.yaml has none


def confidence(base: Revision) -> float:
    """Reads the level of intervals and verdicts from the base, so that the change cannot lower it."""
    try:
        return base.section("overview", Overview).confidence
    except PipelineError:
        return DEFAULT_CONFIDENCE


@command
def main() -> None:
    """Reviews a change: compares the workspace, or a revision, with a base revision."""
    statuses = "exit status: 0 written, 1 error, 2 usage, 3 written but a gate failed"
    parser = argparse.ArgumentParser(prog="python -m tools.review", description=main.__doc__, epilog=statuses)
    parser.add_argument("base", help="a git revision, such as origin/main")
    parser.add_argument("head", nargs="?", help="a git revision; the workspace unless given")
    parser.add_argument("--output", type=Path, default=Path("review"), help="folder of review.md and review.html")
    parser.add_argument("--fail-on", nargs="+", choices=GATES, default=[], help="exit with 3 if one fails")
    parser.add_argument(
        "--pictures", metavar="URL", help="show pictures of both commits, URL/COMMIT/PATH, in review.md"
    )
    arguments = parser.parse_args()

    head = Revision.find(arguments.head) if arguments.head else WORKSPACE
    base = Revision.find(arguments.base)
    review = Review.of(base, head, confidence(base))
    write_text(arguments.output / "review.md", markdown(review, arguments.pictures))
    write_text(arguments.output / "review.html", html(review))
    print(*map(printable, [*review.warnings, *review.summaries]), sep="\n")
    print(f"all of it: {arguments.output}/review.html, {arguments.output}/review.md")
    failures = review.failures(arguments.fail_on)
    if failures:
        print(*(f"gate failed: {line}" for line in failures), sep="\n", file=sys.stderr)
        sys.exit(GATE_FAILED)


if __name__ == "__main__":
    main()
