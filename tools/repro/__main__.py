"""Runs the pipeline as `dvc repro` does, faster and to the same bytes, and draws the overview (`make repro`).

DVC runs one stage after the other. Here, stages that do not wait for one another run side by side, each as `dvc repro
--single-item`. Trainings and other stages share the cores of this machine.
"""

import argparse
import contextlib
import subprocess
import sys

from stages.common.prepared import IMAGES
from stages.support.errors import PipelineError, command
from stages.support.params import Params, load_params
from stages.support.resources import MNIST_BYTES, cluster_address, trainings_at_once
from tools.common.arguments import number
from tools.common.changes import changes
from tools.common.results import COMPARISON, OVERVIEW, TRAINING_DATA, overview_is_current
from tools.common.revision import WORKSPACE, Revision
from tools.common.unseen import unseen_by_dvc
from tools.repro import no_git
from tools.repro.ending import exit_on_signals
from tools.repro.mend import mend, release_rwlock
from tools.repro.plan import Plan
from tools.repro.progress import run

REVIEW_BASES = ("origin/main", "main")


@command
def main() -> None:
    """Runs what params.yaml, code or data changed, draws the overview, and prints what differs from HEAD."""
    parser = argparse.ArgumentParser(prog="python -m tools.repro", description=main.__doc__)
    stages = "trainings and other stages at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=stages)
    missing = "run unchanged stages whose outputs are missing, as in a fresh clone, only if others need them"
    parser.add_argument("--allow-missing", action="store_true", help=missing)
    parser.add_argument("--verbose", action="store_true", help="show all that each stage prints")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    exit_on_signals()
    release_rwlock()
    try:
        _reproduce(arguments)
    except PipelineError as error:  # runs once more if what a killed DVC left broken could be mended
        mended = list(mend())
        if not mended:
            raise
        print(f"error: {error}", *(f"mended: {line}; runs again" for line in mended), sep="\n", file=sys.stderr)
        _reproduce(arguments)


def _reproduce(arguments: argparse.Namespace) -> None:
    params = load_params()
    no_git.adapt()
    plan = Plan.read(arguments.targets, arguments.allow_missing)
    unseen = [] if "fetch" in plan.outdated else unseen_by_dvc(WORKSPACE)  # fetch prints it itself
    has_run = bool(plan.outdated)
    if arguments.allow_missing and "preprocess" in plan.outdated:  # what depends on the data is known only then
        _run(Plan.read(["preprocess"]), params, arguments)
        before, plan = plan, Plan.read(arguments.targets, allow_missing=True)
        if plan.outdated - before.outdated:
            print("the data differ from those of the recorded results; what depends on them runs, too", flush=True)
    if plan.outdated:
        _run(plan, params, arguments)
    elif not has_run:
        current = f"{'models' if unseen else 'data, models'} and results are up to date"
        print(f"nothing to run: {'nothing has changed' if plan.missing else current}")
    if not arguments.targets and not overview_is_current(params) and (status := draw_overview()):
        sys.exit(status)  # it has printed why
    lines = _changed_since_head(params.overview.confidence) if has_run else []
    missing = [name for name in plan.missing if plan.trains(name) and name not in plan.outdated]
    if missing:
        lines.append(f"not here, and not needed: the models of {', '.join(missing)}; dvc repro restores or trains them")
    print("".join(f"{line}\n" for line in [*lines, *unseen]), end="")


def _run(plan: Plan, params: Params, arguments: argparse.Namespace) -> None:
    """Runs what is outdated. If a stage fails, draws the overview of the results that there are."""
    alone = params.train.kernels == "native"  # each training takes all cores, or the GPU
    jobs = arguments.jobs or (1 if alone else None)
    trains = any(map(plan.trains, plan.outdated))
    address = cluster_address(params.train.kernels) if trains else None
    try:
        run(plan, lambda: jobs or at_once(), _cpus(address) if address else 0, arguments.verbose)
    except PipelineError:
        if not arguments.targets:
            draw_overview()
        raise


def at_once() -> int:
    """Returns how many trainings to run at once on the prepared images, or on MNIST if none are prepared yet."""
    images = TRAINING_DATA / IMAGES
    return trainings_at_once(images.stat().st_size if images.exists() else MNIST_BYTES)


def _cpus(address: str) -> int:
    """Returns how many trainings a Ray cluster has room for."""
    from stages.support.cluster import Cluster

    with contextlib.closing(Cluster(address)) as cluster:
        return cluster.cpus()


def draw_overview() -> int:
    """Draws the overview, and prints its table if that has changed. Returns the exit status."""
    before = COMPARISON.read_bytes() if COMPARISON.exists() else b""
    done = subprocess.run([sys.executable, "-m", "tools.overview"], stdout=subprocess.PIPE, text=True, check=False)
    if not done.returncode and COMPARISON.read_bytes() != before:
        print(done.stdout, end="")
    return done.returncode


def _changed_since_head(confidence: float) -> list[str]:
    """Returns a line for each architecture whose results differ from HEAD, then where to look; none without a commit.

    Differences have intervals of this confidence.
    """
    head = _commit("HEAD")
    if not head:
        return []
    lines = [change.summary(confidence) for change in changes(head, WORKSPACE) if change.changed]
    base = next(filter(_commit, REVIEW_BASES), "HEAD")
    return [*(lines or ["same results as in HEAD"]), f"look at {OVERVIEW}; compare: make review BASE={base}"]


def _commit(name: str) -> Revision | None:
    """Returns the commit of this name, `None` if there is none, or no git."""
    try:
        return Revision.find(name)
    except PipelineError:
        return None


if __name__ == "__main__":
    main()
