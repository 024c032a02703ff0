"""`make repro`: what `dvc repro` does, faster and to the same bytes, then the overview and what has changed.

DVC runs one stage after the other. Here those that do not wait for one another go side by side, each as `dvc repro
--single-item`, on Python's libraries imported once (tools/repro/warm.py).
"""

import argparse
import subprocess
import sys

from stages.common.errors import PipelineError, command
from tools.common.arguments import number
from tools.repro.client import NEED_KERAS, TRAINS
from tools.repro.ending import Make, end_when_asked
from tools.repro.warm import Warm, warm_commands


@command
def main() -> None:
    """Runs what params.yaml, code or data changed, draws the overview, and says what differs from HEAD."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    stages = "stages at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=stages)
    parser.add_argument("--verbose", action="store_true", help="show all that each stage prints")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    end_when_asked()
    make = Make()
    with warm_commands() as warm:
        temporary = warm.folder / "tmp"  # is removed with the folder, whatever is left in it
        temporary.mkdir()
        warm.environment["TMPDIR"] = str(temporary)
        warm.start("dvc")  # first, as it is needed first; TensorFlow takes longest
        warm.start("keras")
        _reproduce_or_mend(arguments, warm, make)


def _reproduce_or_mend(arguments: argparse.Namespace, warm: Warm, make: Make) -> None:
    """Runs once more if a run fails, and what a killed DVC has left broken could be mended."""
    try:
        _reproduce(arguments, warm, make)
    except PipelineError as error:
        from tools.repro.mend import mend

        mended = mend()
        if not mended:
            raise
        print(f"error: {error}", *(f"mended: {line}; runs again" for line in mended), sep="\n", file=sys.stderr)
        _reproduce(arguments, warm, make)


def _reproduce(arguments: argparse.Namespace, warm: Warm, make: Make) -> None:
    from stages.common.params import load_params  # while these are imported here, others are there
    from tools.common.cores import at_once, cluster_address
    from tools.common.results import overview_is_current
    from tools.repro import no_git
    from tools.repro.plan import Plan
    from tools.repro.progress import reproduce

    params = load_params()
    no_git.adapt()
    plan = Plan.read(arguments.targets, warm.python, warm.environment)
    (warm.start if plan.needs(NEED_KERAS) else warm.stop)("keras")
    if plan.outdated:
        warm.start("tables")
        alone = params.train.kernels == "native"  # each training takes all cores, or the GPU
        elsewhere = plan.needs([TRAINS]) and cluster_address(params.train.kernels)
        on_cluster = warm.start_cluster() if elsewhere else 0
        jobs = arguments.jobs or (1 if alone else 0)
        reproduce(plan, lambda: jobs or at_once(), warm, make, arguments.verbose, on_cluster)
    else:
        print("nothing to run: data, models and results are up to date")
    if not arguments.targets and not overview_is_current(params):
        _draw_overview(warm)
    if plan.outdated:
        sys.stdout.flush()
        subprocess.run([*warm.python, "-m", "tools.repro.summary"], env=warm.environment, check=False)


def _draw_overview(warm: Warm) -> None:
    """Draws it, and shows its table if that has changed."""
    from tools.common.results import COMPARISON

    before = COMPARISON.read_bytes() if COMPARISON.exists() else b""
    line = [*warm.python, "-m", "tools.overview"]
    drawn = subprocess.run(line, env=warm.environment, stdout=subprocess.PIPE, text=True, check=False)
    if drawn.returncode:
        sys.exit(drawn.returncode)  # it has said why
    if COMPARISON.read_bytes() != before:
        print(drawn.stdout, end="")


if __name__ == "__main__":
    main()
