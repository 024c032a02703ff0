"""What this machine has for trainings."""

import importlib.util
import math
import os

import psutil

from stages.common.prepared import Dataset
from stages.support.apart import RAY_ADDRESS
from stages.support.errors import PipelineError
from stages.support.params import mistake

BASE = 0.7e9  # bytes


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(needed: float = BASE) -> int:
    """How many trainings or other stages run at once, which need this many bytes of memory each."""
    return max(1, min(cores(), int(psutil.virtual_memory().available / needed)))


def trainings_at_once(dataset: Dataset) -> int:
    """How many trainings on this data run at once."""
    return at_once(BASE + 3 * 4 * dataset.count * math.prod(dataset.image))


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
