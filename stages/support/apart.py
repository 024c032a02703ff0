"""Runs stages/train.py in a folder with a params.yaml of its own: for searches, and on a cluster's nodes."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages.common.files import write_text
from stages.support.processes import DVC_STAGE, REPRO_FOLDER
from stages.support.progress import events_file, read_events
from stages.support.resources import RAY_ADDRESS
from stages.support.workers import Slots

OUTPUT = "models"  # what the stage writes, in the folder
AT_ONCE = 100  # events that are reported between two looks whether it still runs
MOMENT = 0.1  # seconds between two looks at how far it is

ReportEpoch = Callable[[int, int, dict[str, float]], None]  # the epoch from 1, the number of epochs, what Keras logs


def train_apart(folder: Path, name: str, params: str, data: Path, report: ReportEpoch) -> tuple[int, str]:
    """Trains an architecture with one seed on this machine, in a process and a folder of its own.

    Args:
        folder: gets the models, in `OUTPUT`, and checkpoints, from which a later training resumes.
        name: of the architecture.
        params: the text of a params.yaml with one seed.
        data: the folder of prepared training images.
        report: called after each epoch; what it raises ends the training.

    Returns:
        The stage's exit status, and what it printed on stderr.
    """
    write_text(folder / "params.yaml", params)
    with contextlib.suppress(FileExistsError):
        (folder / "stages").symlink_to(Path("stages").absolute())
    (watched := folder / "progress").mkdir(exist_ok=True)
    events_file(watched, "").unlink(missing_ok=True)
    Slots.make(watched, 1)
    environment = {**os.environ, REPRO_FOLDER: str(watched.absolute()), DVC_STAGE: ""}
    environment.pop(RAY_ADDRESS, None)
    line = [sys.executable, "-m", "stages.train", name, str(data.absolute()), OUTPUT]
    with (
        (folder / "stderr").open("w+", errors="replace") as stderr,
        subprocess.Popen(
            line, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        ) as process,
    ):
        try:
            reported, ended = 0, False
            while not ended:
                time.sleep(MOMENT)
                ended = process.poll() is not None
                limit = None if ended else AT_ONCE
                events = [] if process.returncode else read_events(watched, "")[reported:][:limit]
                reported += len(events)
                for event in events:
                    if "epoch" in event:
                        report(event["epoch"], event["total"], event["logs"])
        finally:
            process.terminate()
            process.wait()  # also after Ctrl-C, for which Popen waits a quarter of a second
        stderr.seek(0)
        return process.returncode, stderr.read()
