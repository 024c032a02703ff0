"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""

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


fix_environment()  # before any stage or tool imports NumPy, which reads it then
save_address_space()
