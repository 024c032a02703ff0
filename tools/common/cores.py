"""Where trainings run, and how many stages this machine runs at once."""

import importlib.util
import os

import psutil

from stages.support.errors import PipelineError
from stages.support.params import mistake

RAY_ADDRESS = "RAY_ADDRESS"  # Ray's environment variable: the cluster that trains
MEMORY = 1.5e9  # bytes that a stage may need; the largest, a training of cnn, takes 1.2e9 with MNIST


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once() -> int:
    """How many stages to run at once: as many as there are cores, and as memory allows."""
    return max(1, min(cores(), int(psutil.virtual_memory().available / MEMORY)))


def cluster_address(kernels: str) -> str | None:
    """The address of the Ray cluster that is to train; `None` to train here.

    Raises `PipelineError` if the kernels are not portable, this machine is no node of it, or Ray is not installed.
    """
    address = os.environ.get(RAY_ADDRESS)
    if not address:
        return None
    if kernels != "portable":
        raise mistake("train.kernels", f"'portable', as {RAY_ADDRESS} is set and the nodes' results differ", kernels)
    if address.startswith("ray://"):
        expected = "HOST:PORT of a cluster in which this machine is a node"
        raise PipelineError(
            f"{RAY_ADDRESS}: expected {expected}, found {address}; here, run: ray start --address=HOST:PORT"
        )
    if not importlib.util.find_spec("ray"):
        raise PipelineError(f"{RAY_ADDRESS} is set, but Ray is not installed; run: make .venv/installed-cluster")
    return address
