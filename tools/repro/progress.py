"""Runs what is outdated, and shows how far it is: a bar for each stage that runs, a line for each that has ended."""

import io
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from stages.support.errors import PipelineError
from stages.support.progress import read_events
from tools.repro.plan import Plan
from tools.repro.recording import in_order
from tools.repro.schedule import Schedule, StartedStage

REDRAW_EVERY = 10  # moments of the schedule: five times a second


def run(plan: Plan, jobs: Callable[[], int], on_cluster: int = 0, verbose: bool = False) -> None:
    """Runs what is outdated. For each stage that ended, prints what it did and how long it took.

    What a stage printed is shown in full if it failed, or if `verbose`. On a terminal, bars show what runs. `jobs` and
    `on_cluster` are those of `Schedule`.

    Raises `PipelineError` with the names of the stages that failed, after the rest that could run.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not know the letters of a name
    console = Console(force_terminal=sys.stdout.isatty())  # whatever FORCE_COLOR says
    with (
        tempfile.TemporaryDirectory(prefix="repro-", ignore_cleanup_errors=True) as folder,
        in_order(plan),
        Schedule(plan, jobs, Path(folder), on_cluster) as schedule,
        Live(console=console, auto_refresh=False, transient=True) as live,
    ):
        total = len(schedule.waiting)
        moment = 0
        while schedule.goes_on():
            for stage in schedule.step():
                _print_end(console, stage, Path(folder), verbose)
            if console.is_terminal and moment % REDRAW_EVERY == 0:
                live.update(_display(schedule, total), refresh=True)
            moment += 1
    if schedule.failed:
        text = f"failed, see above: {', '.join(schedule.failed)}"
        text += f"; not run, as they depend on it: {', '.join(schedule.not_run)}" if schedule.not_run else ""
        raise PipelineError(f"{text}; fix it and rerun; finished stages are kept")


def _print_end(console: Console, stage: StartedStage, folder: Path, verbose: bool) -> None:
    """Prints what a stage did that has ended."""
    status = stage.process.returncode
    marks = ("✓", "✗") if console.encoding.startswith("utf") else ("done:", "FAILED:")
    results = [event["result"] for event in read_events(folder, stage.name) if "result" in event]
    did = results[-1] if results else "unchanged, or restored from DVC's cache"
    if status:
        did = f"ended by {signal.Signals(-status).name}" if status < 0 else "failed"
    did = did.removeprefix(f"{stage.name.partition('@')[2]}: ")
    mark = marks[bool(status)], "red" if status else "green"
    line = Text.assemble(mark, f" {stage.name}  {_duration(stage.elapsed())}  {did}".rstrip())
    if console.is_terminal:
        line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)
    printed = [stage.stdout, stage.stderr] if status or verbose else [stage.stderr]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace").strip() for path in printed).strip()
    if text:
        console.print(Text("\n".join(f"  {line}".rstrip() for line in text.splitlines())), soft_wrap=True)


def _display(schedule: Schedule, total: int) -> Group:
    """Draws how many stages have ended, and a bar for each that runs; none is wider than the terminal."""
    ended = total - len(schedule.waiting) - len(schedule.running) - len(schedule.not_run)
    bars = Table.grid(*(Column(no_wrap=True, overflow="ellipsis") for _ in range(4)), padding=(0, 1))
    for stage in schedule.running:
        seconds = _duration(stage.elapsed())
        epochs = {event["seed"]: event for event in read_events(schedule.folder, stage.name) if "epoch" in event}
        for seed, last in sorted(epochs.items()):
            bar = ProgressBar(total=last["total"], completed=last["epoch"], width=16)
            bars.add_row(f"  {stage.name}-{seed}", bar, f"epoch {last['epoch']}/{last['total']}", seconds)
        if not epochs:
            bars.add_row(f"  {stage.name}", ProgressBar(total=None, width=16, pulse=True), "", seconds)
    return Group(Text(f"{ended} of {total} stages", no_wrap=True), bars)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
