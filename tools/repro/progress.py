"""Runs what is outdated, and shows how far it is: a bar for each stage that runs, a line for each that has ended."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from stages.common.errors import PipelineError
from stages.train import SHOW_PROGRESS
from tools.common.cores import short_of_memory
from tools.common.lock import read_lock
from tools.repro.client import CLUSTER
from tools.repro.ending import Make
from tools.repro.output import Output
from tools.repro.plan import Plan
from tools.repro.recording import reorder
from tools.repro.schedule import Schedule, Stage
from tools.repro.warm import Warm

EVERY = 10  # moments of the schedule: five times a second


def reproduce(
    plan: Plan, jobs: Callable[[], int], warm: Warm, make: Make, verbose: bool = False, on_cluster: int = 0
) -> None:
    """Runs what is outdated. For each stage that ended, prints what it did and how long it took.

    What a stage printed is shown in full if it failed, or if `verbose`. On a terminal, bars show what runs. `jobs` and
    `on_cluster` are those of `Schedule`.

    Raises `PipelineError` with the names of the stages that failed, after the rest that could run.
    """
    sys.stdout.reconfigure(errors="replace")  # a terminal may not know the letters of a name
    console = Console(force_terminal=sys.stdout.isatty())  # whatever FORCE_COLOR says
    environment = warm.environment | ({SHOW_PROGRESS: "yes"} if console.is_terminal else {})
    with (
        tempfile.TemporaryDirectory(dir=warm.folder) as logs,
        _in_order(plan),
        Schedule(plan, jobs, warm.dvc, environment, Path(logs), on_cluster) as schedule,
        Live(console=console, auto_refresh=False, transient=True) as live,
    ):
        total = len(schedule.waiting)
        killed: list[str] = []
        moment = 0
        while schedule.goes_on():
            for stage in schedule.step():
                output = Output.read(stage)
                _tell(console, stage, output, verbose)
                if stage.process.returncode == -signal.SIGKILL or output.was_killed:
                    killed.append(stage.name)
            make.check()
            if console.is_terminal and moment % EVERY == 0:
                live.update(_display(schedule, total), refresh=True)
            moment += 1
    if schedule.failed:
        raise PipelineError(_failure(schedule, killed))


def _tell(console: Console, stage: Stage, output: Output, verbose: bool) -> None:
    """Prints what a stage did that has ended."""
    status = stage.process.returncode
    marks = ("✓", "✗") if console.encoding.startswith("utf") else ("done:", "FAILED:")
    did = output.last_line
    if status:
        did = f"ended by {signal.Signals(-status).name}" if status < 0 else "failed"
    _, _, name = stage.name.partition("@")
    line = Text.assemble(
        (marks[bool(status)], "red" if status else "green"),
        f" {stage.name}  {_duration(stage.seconds)}  {did.removeprefix(f'{name}: ')}".rstrip(),
    )
    if console.is_terminal:
        line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)
    if more := output.full if status or verbose else output.warnings:
        console.print(Text("\n".join(f"  {line}".rstrip() for line in more.splitlines())), soft_wrap=True)


def _display(schedule: Schedule, total: int) -> Group:
    """How many stages have ended, and a bar for each that runs; none is wider than the terminal."""
    ended = total - len(schedule.waiting) - len(schedule.running) - len(schedule.not_run)
    columns = [Column(no_wrap=True, overflow="ellipsis") for _ in range(4)]
    bars = Table.grid(*columns, padding=(0, 1))
    for stage in schedule.running:
        output = Output.read(stage)
        done, epochs = output.epoch or (0, None)
        seconds = stage.elapsed()
        said = f"epoch {done}/{epochs}" if epochs else ""
        left = f", about {_duration(seconds / done * (epochs - done))} left" if done else ""
        bar = ProgressBar(total=epochs, completed=done, width=16, pulse=not epochs)
        bars.add_row(f"  {stage.name}", bar, said, f"{_duration(seconds)}{left}")
    return Group(Text(f"{ended} of {total} stages", no_wrap=True), bars)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _failure(schedule: Schedule, killed: list[str]) -> str:
    text = f"failed, see above: {', '.join(schedule.failed)}"
    if schedule.not_run:
        text += f"; not run, as they depend on it: {', '.join(schedule.not_run)}"
    remedy = "fix it and rerun"
    if killed:
        on_nodes = ["start Ray's nodes with a smaller --num-cpus"] if schedule.jobs[CLUSTER] else []
        why = short_of_memory(schedule.most, *on_nodes)
        remedy = f"the system has killed {', '.join(killed)}: {why}"
    return f"{text}; {remedy}; finished stages are kept"


@contextlib.contextmanager
def _in_order(plan: Plan) -> Iterator[None]:
    """Puts the entries that are new in a dvc.lock into the order in which `dvc repro` would have written them."""
    before = {path: list(read_lock(path)) for path in plan.recorded}
    try:
        yield
    finally:
        for path, names in plan.recorded.items():
            reorder([*before[path], *names], path)
