"""Shows what a stage does: text and bars on a terminal, events for `make repro`."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

from stages.support.processes import DVC_STAGE, REPRO_FOLDER

T = TypeVar("T")


def events_file(folder: Path, stage: str) -> Path:
    """Returns where a stage writes its events, a line of JSON each; a stage's name may have slashes."""
    return folder / f"{stage.replace('/', ':')}.events"


def write_event(**event: Any) -> None:
    """Adds an event to the stage's file, if `make repro`, a search or a cluster runs it.

    An epoch that has ended has `seed`, `epoch` (from 1), `total` (at most) and `logs` (of Keras); the end `result`.
    """
    if folder := os.environ.get(REPRO_FOLDER):
        with events_file(Path(folder), os.environ.get(DVC_STAGE, "")).open("a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(event)}\n")


def read_events(folder: Path, stage: str) -> list[dict[str, Any]]:
    """Reads the events that a stage has written so far."""
    path = events_file(folder, stage)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]  # the last may be cut


def with_bar(items: Sequence[T], what: str) -> Iterable[T]:
    """Yields the items, and shows a bar on a terminal meanwhile."""
    return track(items, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def finish(result: str) -> None:
    """Prints what a stage did, in a line."""
    print(result)
    write_event(result=result.splitlines()[0])


class TrainingBars:
    """Bars of an architecture's trainings, one for each seed.

    Args:
        name: of the architecture.
        seeds: that are trained.
        epochs: at most.
    """

    def __init__(self, name: str, seeds: Iterable[int], epochs: int) -> None:
        self.epochs = epochs
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=REPRO_FOLDER in os.environ or not sys.stderr.isatty(),
            auto_refresh=False,  # which would need a thread
        )
        self.tasks = {seed: self.bars.add_task(f"{name}-{seed}", total=epochs, figures="") for seed in seeds}

    def __enter__(self) -> "TrainingBars":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.bars.stop()

    def end_epoch(self, seed: int, epoch: int, logs: dict[str, float]) -> None:
        """Shows that a training has finished an epoch, counted from 1."""
        write_event(seed=seed, epoch=epoch, total=self.epochs, logs=logs)
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        self.bars.update(self.tasks[seed], completed=epoch, figures=figures, refresh=True)
