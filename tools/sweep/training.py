"""Trains by the pipeline's own stage, in a process and a folder of its own, and tells how far it is."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from stages.common.errors import PipelineError
from stages.common.files import write_text
from stages.common.yaml import read_yaml
from stages.train import SHOW_PROGRESS
from tools.common.results import PREPARED

EPOCH = re.compile(r"\S+  epoch (\d+)/(\d+)  .*\bval_accuracy ([\d.]+)")  # stages/train.py, after each epoch
STOPPED = {128 + signal.SIGINT, -signal.SIGINT, -signal.SIGTERM}  # exit statuses after Ctrl-C, and after `stop`

EndEpoch = Callable[[int, int, float], None]  # the epoch from 1, the number of epochs, the validation accuracy


class TrainingError(PipelineError):
    """The stage refused the architecture, or its loss was not finite."""


@dataclass(frozen=True)
class Training:
    """A training of one architecture with one seed.

    Args:
        folder: of its own, by which it is found again; params.yaml, model and history are written there.
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
        """The training that the content of a params.yaml with one architecture and one seed leads to.

        `identity` is that of the code and the data. The same training has the same folder in `trainings`.
        """
        text = json.dumps(params, indent=1)  # which is YAML, too
        (name,), (seed,) = params["architectures"], params["train"]["seeds"]
        decides = json.dumps([name, seed, params["architectures"][name], params["train"]["kernels"], identity])
        return cls(trainings / hashlib.sha256(decides.encode()).hexdigest()[:16], name, seed, text)

    def run(self, end_epoch: EndEpoch) -> float:
        """Trains, or resumes, or finds what was trained earlier.

        Args:
            end_epoch: called after each epoch; what it raises ends the training.

        Returns:
            The accuracy on the held-out images after the last epoch.

        Raises `TrainingError` with the stage's own line.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        history = self.folder / "history.csv"  # the last file that the stage writes
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a killed sweep's training goes on until its next epoch, and holds it
            if not history.exists():
                self._run_stage(lock.fileno(), end_epoch)
        table = pd.read_csv(history)
        return float(table[(table.split == "validation") & (table.metric == "accuracy")].value.iloc[-1])

    def discard(self) -> None:
        """Deletes what an unfinished training has left to resume from."""
        (self.folder / "checkpoint.npz").unlink(missing_ok=True)

    def _run_stage(self, lock: int, end_epoch: EndEpoch) -> None:
        write_text(self.folder / "params.yaml", self.params)
        with contextlib.suppress(FileExistsError):
            (self.folder / "stages").symlink_to(Path("stages").absolute())
        files = ["model.keras", "model.txt", "history.csv", "checkpoint.npz"]
        line = [sys.executable, "-m", "stages.train", self.name, str(self.seed), str(PREPARED.absolute()), *files]
        said = []
        with subprocess.Popen(
            line,
            cwd=self.folder,
            env={**os.environ, SHOW_PROGRESS: "yes"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=[lock],
        ) as process:
            try:
                for text in process.stderr:
                    if epoch := EPOCH.match(text):
                        end_epoch(int(epoch[1]), int(epoch[2]), float(epoch[3]))
                    else:
                        said.append(text)
            except BaseException:
                process.terminate()
                raise
        if process.returncode in STOPPED:
            raise PipelineError("stopped; rerun to continue")
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            raise PipelineError(
                f"{self.folder}: a training was ended by {name}; rerun to continue, with fewer jobs if memory is short"
            )
        if process.returncode:
            *_, last = said or [""]
            if not last.startswith("error: "):
                raise RuntimeError(f"{self.folder}: stages.train failed:\n{''.join(said)}")
            raise TrainingError(last.removeprefix("error: ").strip())


def side_by_side(function: Callable[[Any], Any], items: Iterable[Any], jobs: int) -> list[Any]:
    """Calls a function that trains for each item, `jobs` at once. The first exception ends what runs, and is raised."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in futures):
                for child in psutil.Process().children():
                    child.terminate()
                time.sleep(0.1)
            raise
    return [future.result() for future in futures]


def identity() -> str:
    """Digest of the files on which dvc.yaml has a training depend: the code, pinned versions, and the data."""
    digest = hashlib.blake2b()
    for path in read_yaml(Path("dvc.yaml"))["stages"]["train"]["deps"]:
        with Path(path).open("rb") as stream:
            digest.update(f"{path}\n".encode() + hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
