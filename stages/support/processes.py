"""Prepares the process of a command, and ends it together with the one that started it."""

import ctypes
import getpass
import os
import signal
import sys

REPRO_FOLDER = "REPRO_FOLDER"  # an environment variable of `make repro`: its folder for slots and for progress
DVC_STAGE = "DVC_STAGE"  # an environment variable of DVC: the name of the stage that it runs
PR_SET_PDEATHSIG = 1  # of Linux's prctl
M_ARENA_MAX = -8  # of malloc.h
# Git sets these for hooks and aliases (`git rev-parse --local-env-vars`). They make git use one repository in every
# folder. Commands need that of the current folder, as DVC does. Variables with git settings are kept.
OF_ONE_REPOSITORY = (
    *("ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "CONFIG", "DIR", "GRAFT_FILE", "IMPLICIT_WORK_TREE", "INDEX_FILE"),
    *("INTERNAL_SUPER_PREFIX", "NO_REPLACE_OBJECTS", "OBJECT_DIRECTORY", "PREFIX", "QUARANTINE_PATH"),
    *("REPLACE_REF_BASE", "SHALLOW_FILE", "WORK_TREE"),
    *("DEFAULT_HASH", "DEFAULT_REF_FORMAT", "TEMPLATE_DIR"),  # of a new repository: DVC reads only the default formats
)


def prepare_process() -> None:
    """Prepares the environment of a command, before it imports DVC or TensorFlow, or starts git."""
    save_address_space()
    name_user()
    for name in OF_ONE_REPOSITORY:
        os.environ.pop(f"GIT_{name}", None)


def save_address_space() -> None:
    """Makes the C library reserve memory once for all threads, where the address space is limited (`ulimit -v`).

    It reserves 64 MB for each thread, so that TensorFlow, which needs 1.7 GiB, would not run in 2 GiB.
    """
    if sys.platform == "linux":
        import resource

        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def name_user() -> None:
    """Gives a user without an entry in /etc/passwd a name and a home folder, both of which DVC needs.

    `docker run --user 1234` has such a user, and so has OpenShift.
    """
    try:
        getpass.getuser()
    except (ImportError, KeyError, OSError):  # the last since Python 3.13
        os.environ["LOGNAME"] = str(getattr(os, "getuid", int)())
    if os.path.expanduser("~") == "~":  # noqa: PTH111
        os.environ["HOME"] = "/"  # as in Docker


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Has Linux send this process a signal as soon as its parent ends, whatever ends that. Does nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def end_with_dvc() -> None:
    """Has a stage end with the DVC that runs it."""
    end_with_parent()
    if os.getppid() == 1 and REPRO_FOLDER in os.environ:  # DVC, which `make repro` started, has ended already
        sys.exit(128 + signal.SIGTERM)
