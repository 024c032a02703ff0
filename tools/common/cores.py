"""Where trainings run, and how many stages this machine runs at once."""

import importlib.util
import os

from stages.common.errors import PipelineError
from stages.common.params import mistake
from stages.common.resources import MNIST_BYTES, trainings_at_once
from tools.common.results import PREPARED

RAY_ADDRESS = "RAY_ADDRESS"  # Ray's environment variable: the cluster that trains


def at_once() -> int:
    """How many trainings to run at once on the prepared images; on as many as MNIST's, if none are prepared yet."""
    images = PREPARED / "x_train.npy"
    return trainings_at_once(images.stat().st_size if images.exists() else MNIST_BYTES)


def short_of_memory(jobs: int, fewer: str = "rerun with JOBS=1") -> str:
    """Says why one of `jobs` trainings was killed, and what to do: `fewer` at once, if there was more than one."""
    remedy = fewer if jobs > 1 else "close other programs, or make batches or layers smaller"
    return f"memory was probably short; {remedy}"


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
