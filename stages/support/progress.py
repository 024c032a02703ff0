"""Shows what a stage does: text and bars on a terminal; and data for `make repro`, if that runs the stage."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stages.common.files import write_text

REPRO_FOLDER = "REPRO_FOLDER"  # an environment variable of `make repro`: its folder for slots and for progress
DVC_STAGE = "DVC_STAGE"  # an environment variable of DVC: the name of the stage that it runs


@dataclass
class StageProgress:
    """How far a stage is.

    Attributes:
        total: the epochs of each training, at most.
        epochs: the last one that has ended, by seed: its number from 1, and what Keras logs of it.
        result: a line that says what the stage did, once it has ended.
    """

    total: int = 0
    epochs: dict[str, tuple[int, dict[str, float]]] = field(default_factory=dict)
    result: str = ""

    @staticmethod
    def file(folder: Path, stage: str) -> Path:
        """Where a stage writes it; a stage's name may have slashes."""
        return folder / f"{stage.replace('/', ':')}.json"

    @classmethod
    def read(cls, folder: Path, stage: str) -> "StageProgress":
        """Reads what a stage has written so far."""
        path = cls.file(folder, stage)
        return cls(**json.loads(path.read_bytes())) if path.exists() else cls()

    def write(self) -> None:
        """Writes it, if `make repro` runs the stage."""
        if folder := os.environ.get(REPRO_FOLDER):
            write_text(self.file(Path(folder), os.environ.get(DVC_STAGE, "")), json.dumps(asdict(self)))


def finish(result: str) -> None:
    """Prints the line that says what a stage did."""
    print(result)
    StageProgress(result=result.splitlines()[0]).write()


class TrainingBars:
    """Bars of an architecture's trainings, one for each seed.

    Args:
        name: of the architecture.
        seeds: that are trained.
        epochs: at most.
    """

    def __init__(self, name: str, seeds: Iterable[int], epochs: int) -> None:
        self.progress = StageProgress(epochs)
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
        self.progress.epochs[str(seed)] = (epoch, logs)
        self.progress.write()
        figures = "  ".join(f"{key} {value:.4f}" for key, value in logs.items())
        self.bars.update(self.tasks[seed], completed=epoch, figures=figures, refresh=True)
