"""What spans the architectures: comparison, training curves, one page. A view of the results, not a result.

No DVC stage writes it, so that no two branches fight over it: it is drawn (`make overview`, and at
the end of `make repro`) from files that are in git, for the architectures in params.yaml. If
nothing has changed since, nothing is drawn.
"""

import argparse
import hashlib
from pathlib import Path

from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.params import PARAMS_PATH, Params, load_params

METRICS, PLOTS, DESCRIPTION = Path("metrics"), Path("plots"), Path("data/raw/mnist.json")
COMPARISON, TRAINING = PLOTS / "comparison.csv", PLOTS / "training.csv"
COMPARISON_CHART, TRAINING_CHART = PLOTS / "comparison.png", PLOTS / "training.png"
PAGE = PLOTS / "report.html"
PER_ARCHITECTURE = (
    "metrics/{}.json",
    "plots/predictions/{}.json",
    "plots/history/{}.csv",
    "plots/confusion/{}.png",
    "plots/worst_errors/{}.png",
)


def digest(params: Params) -> str | None:
    """SHA-256 over all that the page is drawn from: results, params, code, and the other files of the overview.

    `None` if one of them is missing.
    """
    results = [Path(form.format(name)) for name in sorted(params.architectures) for form in PER_ARCHITECTURE]
    files = [path for folder in ("stages", "tools") for path in Path(folder).rglob("*")]
    code = sorted(path for path in files if path.suffix in (".py", ".j2", ".css"))
    drawn = [COMPARISON, TRAINING, COMPARISON_CHART, TRAINING_CHART]
    found = hashlib.sha256()
    try:
        for path in [PARAMS_PATH, DESCRIPTION, *results, *code, *drawn]:
            found.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    except FileNotFoundError:
        return None
    return found.hexdigest()


def is_current(params: Params) -> bool:
    """Whether the page bears the digest of what lies in the workspace."""
    inputs = digest(params)
    return inputs is not None and PAGE.exists() and f'content="{inputs}"' in PAGE.read_text(encoding="utf-8")[:1000]


def draw(params: Params) -> None:
    """Writes tables, charts and page, and prints the comparison."""
    from tools.page import Overview

    overview = Overview.read(params)
    overview.draw()
    write_text(PAGE, overview.page(digest(params) or ""))
    columns = ["architecture", "accuracy", "low", "high", "errors", "parameters"]
    print(overview.comparison[columns].to_string(index=False))
    print(f"all of it on one page: {PAGE}")


def check(params: Params) -> None:
    """Raises `PipelineError` if a table in git is not what the results give."""
    from tools.page import Overview

    for path, text in Overview.read(params).tables().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            raise PipelineError(f"{path}: does not match the results in {METRICS}/ and {PLOTS}/; run: make overview")


@command
def main() -> None:
    """Draws the overview of all architectures in params.yaml, if it is not current."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether its tables in git are current")
    arguments = parser.parse_args()
    params = load_params()
    if arguments.check:
        check(params)
    elif not is_current(params):
        draw(params)


if __name__ == "__main__":
    main()
