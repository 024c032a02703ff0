"""Ends `make repro` when a signal asks it to, or when make has died; its schedule ends what it started."""

import os
import signal
import sys
from typing import NoReturn

import psutil

from stages.support.processes import end_with_parent

SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # of `kill`, and of a terminal that closes


def end_when_asked() -> None:
    """Has this process exit if a signal asks it to end; not one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit)
    if psutil.Process(os.getppid()).name() in ("make", "gmake"):
        end_with_parent()


def _exit(number: int, _: object) -> NoReturn:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # is under way
    sys.exit(128 + number)
