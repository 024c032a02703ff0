"""Ends processes together with the one that started them."""

import ctypes
import os
import signal
import sys

REPRO_FOLDER = "REPRO_FOLDER"  # an environment variable of `make repro`: its folder for slots and for progress
DVC_STAGE = "DVC_STAGE"  # an environment variable of DVC: the name of the stage that it runs
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Has Linux send this process a signal as soon as its parent ends, whatever ends that. Does nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def end_with_dvc() -> None:
    """Has a stage end with the DVC that runs it."""
    end_with_parent()
    if os.getppid() == 1 and REPRO_FOLDER in os.environ:  # DVC, which `make repro` started, has ended already
        sys.exit(128 + signal.SIGTERM)
