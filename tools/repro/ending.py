"""Ends `make repro` on SIGTERM and SIGHUP, and when make has ended; the schedule then ends the stages."""

import os
import signal
import sys
from typing import NoReturn

import psutil

from stages.support.processes import end_with_parent

SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # of `kill`, and of a terminal that closes


def exit_on_signals() -> None:
    """Makes this process exit on these signals, except one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _exit)
    if psutil.Process(os.getppid()).name() in ("make", "gmake"):
        end_with_parent()


def _exit(number: int, _: object) -> NoReturn:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # as it already exits
    sys.exit(128 + number)
