"""Ends `make repro` when a signal asks it to, or when make has died; its schedule ends what it started."""

import os
import signal
import sys
from typing import NoReturn

import psutil

from stages.support.processes import end_with_parent

# A signal asks a process to end: `kill`, and a terminal that closes (of which Windows sends no signal)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def end_when_asked() -> None:
    """Has this process exit if a signal asks it to end; not one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit)
    if psutil.Process(os.getppid()).name() in ("make", "gmake"):
        end_with_parent()


def _exit(number: int, _: object) -> NoReturn:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # is under way
    sys.exit(128 + number)
