"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""

import getpass
import os
import sys

from stages.common.kernels import fix_environment

M_ARENA_MAX = -8  # of malloc.h


def save_address_space() -> None:
    """Makes the C library reserve memory once for all threads, where the address space is limited (`ulimit -v`).

    It reserves 64 MB for each thread, so that TensorFlow, which needs 1.7 GiB, would not run in 2 GiB.
    """
    if sys.platform == "linux":
        import ctypes
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


fix_environment()  # before any stage or tool imports NumPy, which reads it then
save_address_space()
name_user()
