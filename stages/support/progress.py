"""Shows how far trainings are: bars on a terminal, or a file of data for the process that runs this one."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stages.common.files import write_text
from stages.support.workers import REPRO_FOLDER


def progress_file(folder: Path, name: str) -> Path:
    """Where a stage writes how far its trainings of an architecture are: {seed: [epoch, epochs, figures]}."""
    return folder / f"train@{name}.json"


class TrainingProgress:
    """The progress of an architecture's trainings, one for each seed.

    Args:
        name: of the architecture.
        seeds: that are trained.
        epochs: at most.
    """

    def __init__(self, name: str, seeds: Iterable[int], epochs: int) -> None:
        folder = os.environ.get(REPRO_FOLDER)
        self.file = progress_file(Path(folder), name) if folder else None
        self.epochs, self.state = epochs, dict[int, tuple[int, int, dict[str, float]]]()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self.bars = Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self.file is not None or not sys.stderr.isatty(),
            auto_refresh=False,  # which would need a thread
        )
        self.tasks = {seed: self.bars.add_task(f"{name}-{seed}", total=epochs, figures="") for seed in seeds}

    def __enter__(self) -> "TrainingProgress":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.bars.stop()

    def tell(self, seed: int, epoch: int, logs: dict[str, float]) -> None:
        """Shows that a training has finished an epoch, counted from 1."""
        self.state[seed] = (epoch, self.epochs, logs)
        if self.file:
            write_text(self.file, json.dumps(self.state))
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        self.bars.update(self.tasks[seed], completed=epoch, figures=figures, refresh=True)
