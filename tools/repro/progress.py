"""Runs what is outdated, and shows how far it is."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from stages.common.errors import PipelineError
from stages.train import SHOW_PROGRESS
from tools.common.lock import read_lock
from tools.repro.ending import end_with_make
from tools.repro.recording import reorder
from tools.repro.schedule import Plan, Schedule


def reproduce(plan: Plan, jobs: int) -> None:
    """Runs what is outdated, and prints what each stage prints when it has ended; on a terminal, shows what runs.

    Raises `PipelineError` with the names of the stages that failed, after the rest that could run.
    """
    console = Console(force_terminal=sys.stdout.isatty())  # whatever FORCE_COLOR says
    if console.is_terminal:
        os.environ[SHOW_PROGRESS] = "yes"
    with tempfile.TemporaryDirectory() as folder, in_order(plan):
        schedule = Schedule(plan, jobs, Path(folder))
        total = len(schedule.waiting)
        end_if_make_died = end_with_make()
        # not redirected: the stages are forks, which would print through what stands in for stdout
        shown = {"auto_refresh": False, "transient": True, "redirect_stdout": False, "redirect_stderr": False}
        with Live(console=console, **shown) as live:

            def show() -> None:
                end_if_make_died()
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
        said = printed and not printed[-1].startswith(("> ", "Running stage "))  # not DVC's own lines, which say less
        lines.append(f"  {name}: {printed[-1]}" if said else f"  {name}")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _failure(schedule: Schedule) -> str:
    text = f"failed, see above: {', '.join(schedule.failed)}"
    if schedule.not_run:
        text += f"; not run, as they depend on it: {', '.join(schedule.not_run)}"
    return f"{text}; mend that, and run again: what is done stays done"


@contextlib.contextmanager
def in_order(plan: Plan) -> Iterator[None]:
    """Puts the stages that come new into a dvc.lock in the order in which `dvc repro` would have written them."""
    before = {path: list(read_lock(path)) for path in plan.recorded}
    try:
        yield
    finally:
        for path, names in plan.recorded.items():
            reorder([*before[path], *names], path)
