"""`make repro`: what `dvc repro` does, faster and to the same bytes, then the overview.

DVC runs one stage after the other. Here those that do not wait for one another go side by side, each as `dvc repro
--single-item`, on Python's libraries imported once (tools/warm.py).
"""

import argparse
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from stages.common.errors import command
from tools.warm import KERAS, LIBRARIES, NEED_KERAS, Warm, warm_commands


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@command
def main() -> None:
    """Runs what params.yaml, code or data changed, and draws the overview."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--jobs", type=int, metavar="N", help="stages at once; by default what cores and memory allow")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    with warm_commands() as warm, _first_on_path(warm.folder):
        warm.start("keras", KERAS)  # takes longest
        _reproduce(arguments, warm)


def _reproduce(arguments: argparse.Namespace, warm: Warm) -> None:
    from stages.common.params import load_params  # while these are imported here, others are there
    from tools import no_git, overview
    from tools.progress import reproduce
    from tools.schedule import Plan, at_once

    params = load_params()
    no_git.adapt()
    plan = Plan.read(arguments.targets)
    if not plan.needs(NEED_KERAS):
        warm.stop("keras")
    if plan.outdated:
        warm.start("others", LIBRARIES)
        alone = params.train.kernels == "native"  # each training takes all cores, or the GPU
        reproduce(plan, arguments.jobs or (1 if alone else at_once()))
    else:
        print("nothing to run: data, models and results are up to date")
    if not arguments.targets and not overview.is_current(params):
        subprocess.run(["python", "-m", "tools.overview"], check=True)


if __name__ == "__main__":
    main()
