"""Ends processes together: whatever `make repro` starts does not go on without it.

Between make and a stage are several processes, and any of them may be told to end, or be killed:

    make - sh - tools.repro - dvc repro - sh - the client        (tools/repro/warm.py)
                          \\ the process with the libraries - the stage

Each watches what it must not outlive: tools.repro make, DVC tools.repro, and the stage both its client and DVC.
"""

import contextlib
import fcntl
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil

PATIENCE = 10  # seconds that a process has to end by itself
SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # that tell a process to end: `kill`, and a terminal that closes
HELD_BY = "REPRO_HELD_BY"  # an environment variable: a file that a stage's DVC holds for as long as it lives


def when_told(end: Callable[[int], None]) -> None:
    """Has this process call `end` if a signal tells it to end; not one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: end(number))


def end_stages(number: int) -> NoReturn:
    """Tells DVC's processes to end, and exits, which waits for them."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # is under way
    for process in multiprocessing.active_children():
        process.terminate()
    sys.exit(128 + number)


def send_to_descendants(number: int) -> None:
    """Sends a signal to all that this process started, directly or not."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def end_descendants() -> NoReturn:
    """Ends what this process starts until it ends itself, then with its files in order; or else ends it.

    For a thread: DVC, whose stage has failed, tells so, and gives back its locks.
    """
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last:
        send_to_descendants(signal.SIGTERM)
        time.sleep(0.1)
    send_to_descendants(signal.SIGKILL)
    os._exit(1)


def end_all() -> NoReturn:
    """Ends this process and what it started. For a thread."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        send_to_descendants(number)
        os.kill(os.getpid(), number)
        time.sleep(PATIENCE)
    raise AssertionError("outlived SIGKILL")


def hold(path: Path) -> None:
    """Holds a file, by a lock, until this process ends, however it ends; tells those that it starts which one."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
        os.environ[HELD_BY] = str(path)


def wait_until_free(path: str) -> None:
    """Waits for the end of the process that holds a file."""
    with contextlib.suppress(FileNotFoundError), Path(path).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def end_with_make() -> Callable[[], None]:
    """Returns what ends this process, as SIGTERM does, if it was started by make and make, or one between, has died."""
    try:
        parents = psutil.Process().parents()
        makes = [place for place, process in enumerate(parents, 1) if process.name().endswith("make")]
    except psutil.Error:  # one has just died, or tells nobody its name
        makes = []
    line = parents[: max(makes)] if makes else []

    def end_if_it_died() -> None:
        if line and psutil.Process().parents()[: len(line)] != line:
            signal.raise_signal(signal.SIGTERM)

    return end_if_it_died
