"""`make repro`: what `dvc repro` does, faster and to the same bytes, then the overview.

DVC runs one stage after the other. Here those that do not wait for one another go side by side, each as `dvc repro
--single-item`, on Python's libraries imported once (tools/warm.py).
"""

import argparse
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from rich.console import Console
from rich.live import Live
from rich.text import Text

from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.params import load_params
from stages.train import SHOW_PROGRESS
from tools import overview
from tools.lock import LOCK, read_lock
from tools.schedule import Plan, Schedule, at_once
from tools.warm import warm_commands


def reproduce(plan: Plan, jobs: int) -> None:
    """Runs what is outdated, and prints what each stage prints when it has ended; on a terminal, shows what runs.

    Raises `PipelineError` with the names of the stages that failed, after the rest that could run.
    """
    console = Console()
    if console.is_terminal:
        os.environ[SHOW_PROGRESS] = "yes"
    with tempfile.TemporaryDirectory() as folder, in_order(plan):
        schedule = Schedule(plan, jobs, Path(folder))
        total = len(schedule.waiting)
        # not redirected: the stages are forks, which would print through what stands in for stdout
        shown = {"auto_refresh": False, "transient": True, "redirect_stdout": False, "redirect_stderr": False}
        with Live(console=console, **shown) as live:

            def show() -> None:
                if console.is_terminal:
                    live.update(_display(schedule, total), refresh=True)

            with contextlib.closing(schedule.run(show)) as ended:
                for printed in ended:
                    if printed:
                        console.print(Text(f"{printed}\n"), soft_wrap=True)
        if schedule.failed:
            raise PipelineError(_failure(schedule))


def _display(schedule: Schedule, total: int) -> Text:
    """How far it is, and the last line of each stage that runs."""
    done = total - len(schedule.waiting) - len(schedule.running) - len(schedule.not_run)
    lines = [f"{done} of {total} stages done"]
    for name in schedule.running:
        log = schedule.log(name)
        printed = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
        lines.append(f"  {name}: {printed[-1]}" if printed and not printed[-1].startswith("> ") else f"  {name}")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _failure(schedule: Schedule) -> str:
    text = f"failed, see above: {', '.join(schedule.failed)}"
    if schedule.not_run:
        text += f"; not run, as they depend on it: {', '.join(schedule.not_run)}"
    return f"{text}; mend that, and run again: what is done stays done"


@contextlib.contextmanager
def in_order(plan: Plan) -> Iterator[None]:
    """Puts the stages that come new into dvc.lock in the order in which `dvc repro` would have written them."""
    before = list(read_lock())
    try:
        yield
    finally:
        after = list(read_lock())
        order = [*before, *(name for name in plan.upstream if name not in before)]
        if after != [name for name in order if name in after]:
            content = parse_yaml_for_update(LOCK.read_text(encoding="utf-8"), LOCK)
            stages = content["stages"]
            for name in order:
                if name in stages:
                    stages.move_to_end(name)
            write_text(LOCK, dumps_yaml(content))


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
    params = load_params()
    with warm_commands() as folder, _first_on_path(folder):  # imports while DVC looks what has changed
        plan = Plan.read(arguments.targets)
        if plan.outdated:
            reproduce(plan, arguments.jobs or at_once())
        else:
            print("nothing to run: data, models and results are up to date")
        if not arguments.targets and not overview.is_current(params):
            subprocess.run(["python", "-m", "tools.overview"], check=True)


if __name__ == "__main__":
    main()
