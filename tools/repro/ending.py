"""Ends `make repro` when a signal asks it to, or when make has died; its schedule and servers end what it started."""

import contextlib
import os
import signal
import sys
from typing import NoReturn

import psutil

MAKE = "REPRO_MAKE"  # an environment variable: the process number of the make that runs it
# A signal asks a process to end: `kill`, and a terminal that closes (which Windows does not tell by a signal)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def end_when_asked() -> None:
    """Has this process exit if a signal asks it to end; not one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, _: object) -> NoReturn:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # is under way
    sys.exit(128 + number)


class Make:
    """The make that started this process, if one did."""

    def __init__(self) -> None:
        self.process = None
        with contextlib.suppress(ValueError, psutil.Error):
            self.process = psutil.Process(int(os.environ.pop(MAKE, "")))

    def check(self) -> None:
        """Ends this process if make has died."""
        if self.process and not is_alive(self.process):
            signal.raise_signal(signal.SIGTERM)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie, which nobody may ever wait for, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
