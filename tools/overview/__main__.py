"""Compares the architectures: tables, training curves, one page. A view of the results, not a result.

No DVC stage writes it, so that it never conflicts between branches. `make overview` draws it, and so does `make repro`
at its end, from files in git, for the architectures in params.yaml that have results. If nothing has changed since,
nothing is drawn.
"""

import argparse
import sys

from stages.common.files import write_text
from stages.support.errors import PipelineError, command
from stages.support.params import Params, load_params
from tools.common.results import COMPARISON, OVERVIEW, overview_inputs, overview_is_current
from tools.common.revision import WORKSPACE


def draw(params: Params) -> None:
    """Writes tables, charts and page, and prints the comparison, and on stderr which architectures are missing."""
    from tools.overview.drawing import OverviewPage

    overview = OverviewPage.read(params)
    overview.draw()
    write_text(OVERVIEW, overview.page(overview_inputs(params)))
    columns = ["architecture", "accuracy", "low", "high", "errors", "parameters"]
    print(overview.tables[COMPARISON][columns].to_string(index=False, na_rep="–"))
    for line in overview.missing:
        print(f"not in the overview: {line}", file=sys.stderr)
    print(f"all of it on one page: {OVERVIEW}")


@command
def main() -> None:
    """Draws the overview of all architectures in params.yaml, if it is not current."""
    parser = argparse.ArgumentParser(prog="python -m tools.overview", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only check whether its tables in git are current")
    arguments = parser.parse_args()
    params = load_params()
    if arguments.check:
        from tools.common.comparison import stale_tables

        if lines := stale_tables(WORKSPACE):
            raise PipelineError(lines[0])
    elif overview_is_current(params):
        print(f"up to date: {OVERVIEW}")
    else:
        draw(params)


if __name__ == "__main__":
    main()
