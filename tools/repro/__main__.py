"""`make repro`: what `dvc repro` does, faster and to the same bytes, then the overview.

DVC runs one stage after the other. Here those that do not wait for one another go side by side, each as `dvc repro
--single-item`, on Python's libraries imported once (tools/repro/warm.py).
"""

import argparse
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator

from stages.common.errors import command
from tools.common.arguments import number
from tools.repro.client import NEED_KERAS
from tools.repro.ending import end_stages, when_told
from tools.repro.warm import KERAS, LIBRARIES, Warm, warm_commands


@contextlib.contextmanager
def _environment(warm: Warm) -> Iterator[None]:
    """Puts the warm commands first on PATH, and all temporary files into a folder that is removed at the end."""
    temporary = warm.folder.parent / "tmp"
    temporary.mkdir()
    before = dict(os.environ)
    if os.access(warm.folder / "python", os.X_OK):  # not where temporary files may not be executed: then the real ones
        os.environ["PATH"] = f"{warm.folder}{os.pathsep}{before.get('PATH', os.defpath)}"
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None


@command
def main() -> None:
    """Runs what params.yaml, code or data changed, and draws the overview."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    stages = "stages at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=stages)
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    when_told(end_stages)
    with warm_commands() as warm, _environment(warm):
        warm.start("keras", KERAS)  # takes longest
        _reproduce(arguments, warm)


def _reproduce(arguments: argparse.Namespace, warm: Warm) -> None:
    from stages.common.params import load_params  # while these are imported here, others are there
    from tools.common.results import overview_is_current
    from tools.repro import no_git
    from tools.repro.progress import reproduce
    from tools.repro.schedule import Plan, at_once

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
    if not arguments.targets and not overview_is_current(params):
        subprocess.run(["python", "-m", "tools.overview"], check=True)


if __name__ == "__main__":
    main()
