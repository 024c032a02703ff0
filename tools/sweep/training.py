"""Trains by the pipeline's own stage, on this machine or on a Ray cluster."""

import contextlib
import fcntl
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from stages.models.checkpoint import CHECKPOINTS
from stages.support.apart import OUTPUT, ReportEpoch, train_apart
from stages.support.errors import PipelineError
from stages.support.resources import short_of_memory
from stages.support.yaml import to_yaml
from tools.common.results import TRAINING_DATA as DATA

STOPPED = {128 + signal.SIGINT, -signal.SIGINT, -signal.SIGTERM}  # exit statuses after Ctrl-C, and when terminated

ReportAccuracy = Callable[[int, int, float], None]  # the epoch from 1, the number of epochs, the validation accuracy


class TrainingError(PipelineError):
    """The stage refused the architecture, or its loss was not finite."""


@dataclass(frozen=True)
class Place:
    """Where trainings run.

    Args:
        jobs: how many run at once.
        train: trains, with the arguments of `train_apart`; returns what that returns.
        stop: ends all trainings.
    """

    jobs: int
    train: Callable[[Path, str, str, Path, ReportEpoch], tuple[int, str]]
    stop: Callable[[], None]


def here(jobs: int) -> Place:
    """Returns this machine, where each training is a process."""

    def stop() -> None:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):  # has just ended
                child.terminate()

    return Place(jobs, train_apart, stop)


def on_cluster(address: str) -> Place:
    """Returns a Ray cluster, where each training is a task."""
    from stages.support.cluster import Cluster

    cluster = Cluster(address)

    def train(folder: Path, name: str, params: str, data: Path, report: ReportEpoch) -> tuple[int, str]:
        return cluster.train(name, params, data, folder / OUTPUT, report)

    return Place(cluster.cpus(), train, cluster.cancel)


@dataclass(frozen=True)
class Training:
    """A training of one architecture with one seed.

    Args:
        folder: of its own, by which a later search knows it; model and history are written there.
        name: of the architecture.
        seed: as in params.yaml.
        params: the text of params.yaml.
    """

    folder: Path
    name: str
    seed: int
    params: str

    @classmethod
    def of(cls, params: dict[str, Any], identity: str, trainings: Path) -> "Training":
        """Returns the training of the content of a params.yaml with one architecture and one seed.

        `identity` is that of the code and the data. The same training has the same folder in `trainings`.
        """
        (name,), (seed,) = params["architectures"], params["train"]["seeds"]
        decides = json.dumps([name, seed, params["architectures"][name], params["train"]["kernels"], identity])
        return cls(trainings / hashlib.sha256(decides.encode()).hexdigest()[:16], name, seed, to_yaml(params))

    def run(self, place: Place, report: ReportAccuracy) -> float:
        """Trains, or resumes, or reads what was trained earlier.

        Args:
            place: where it runs.
            report: called after each epoch; what it raises ends the training.

        Returns:
            The accuracy on the held-out images after the last epoch.

        Raises `TrainingError` with the stage's own line.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        history = self.folder / OUTPUT / f"{self.seed}.csv"
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another trial may be the same training
            if not history.exists():
                self._run_stage(place, report)
        table = pd.read_csv(history)
        return float(table[(table.split == "validation") & (table.metric == "accuracy")].value.iloc[-1])

    def discard(self) -> None:
        """Deletes what an unfinished training has left to resume from."""
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)

    def _run_stage(self, place: Place, report: ReportAccuracy) -> None:
        def report_accuracy(epoch: int, epochs: int, logs: dict[str, float]) -> None:
            if "val_accuracy" in logs:  # not of epochs trained earlier, of a training that is resumed
                report(epoch, epochs, logs["val_accuracy"])

        status, stderr = place.train(self.folder, self.name, self.params, DATA, report_accuracy)
        if status in STOPPED:
            raise PipelineError("stopped; rerun to continue")
        if status < 0:
            ended = f"{self.folder}: a training was ended by {signal.Signals(-status).name}"
            raise PipelineError(
                ended, short_of_memory(place.jobs) if status == -signal.SIGKILL else "rerun to continue"
            )
        if status:
            *_, last = stderr.splitlines() or [""]
            if not last.startswith("error: "):
                raise RuntimeError(f"{self.folder}: stages.train failed:\n{stderr}")
            raise TrainingError(last.removeprefix("error: ").strip())


def side_by_side(function: Callable[[Any], Any], items: Iterable[Any], place: Place) -> list[Any]:
    """Calls a function that trains for each item, as many at once as the place allows.

    The first exception ends what runs, and is raised.
    """
    with ThreadPoolExecutor(place.jobs) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in futures):
                place.stop()
                time.sleep(0.1)
            raise
    return [future.result() for future in futures]
