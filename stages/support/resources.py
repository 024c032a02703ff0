"""Computes how many cores and how much memory this process may use, and how many trainings fit into them.

Counts the limits of the machine, of control groups (containers, Slurm, systemd) and of `ulimit`.
"""

import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.support.errors import PipelineError
from stages.support.params import mistake

RAY_ADDRESS = "RAY_ADDRESS"  # Ray's environment variable: the cluster that trains
CGROUPS = Path("/sys/fs/cgroup")  # where Linux shows control groups, of version 1 or 2
OWN_CGROUPS = Path("/proc/self/cgroup")  # lists those of this process
TENSORFLOW = 8e8  # bytes that a training takes, besides the images, of which all trainings share one copy
MNIST_BYTES = 60_000 * 28 * 28 * 4  # of its training images
# Of a control group: its limit, a file or a figure in memory.stat; the file of its use; and the prefix in memory.stat
# of figures that include the groups in it
LIMITS = (
    ("memory.max", "memory.current", ""),
    ("memory.high", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ("hierarchical_memory_limit", "memory.usage_in_bytes", "total_"),  # of a group that may be out of sight
)
RECLAIMED = ("active_file", "inactive_file")  # in memory.stat: what the kernel takes back when memory is short


def trainings_at_once(images: int = MNIST_BYTES, root: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns how many trainings to run side by side: one per core, or as many as memory allows, but at least one.

    Args:
        images: bytes of the prepared training images.
        root: where control groups are shown.
        own: lists those of this process.
    """
    return max(1, min(cores(root, own), int((free_memory(root, own) - images) / TENSORFLOW)))


def cores(root: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns the processor cores that this process may use; a part of one counts as one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *(math.ceil(quota) for quota in _quotas(root, own))]))


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """Yields the limit of each control group, in cores."""
    for group in _groups("cpu", root, own):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            match " ".join(_read(group / name) for name in names).split():
                case [quota, period] if quota.isdigit() and period.isdigit() and int(period):  # not 'max' or -1
                    yield int(quota) / int(period)


def total_memory(root: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns the bytes of memory that this process may use, those already in use among them."""
    limits = [limit for limit, _ in _memory_limits(root, own)]
    return min([psutil.virtual_memory().total, *_ulimits(), *limits])


def free_memory(root: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns the bytes of memory that are left for this process and those that it starts."""
    left = [limit - used for limit, used in _memory_limits(root, own)]
    return max(0, min([psutil.virtual_memory().available, *_ulimits(), *left]))


def _ulimits() -> Iterator[int]:
    """Yields what `ulimit -v` and `ulimit -d` limit a process to, in bytes."""
    if sys.platform == "linux":
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            limit, _ = resource.getrlimit(kind)
            if limit != resource.RLIM_INFINITY:
                yield limit


def _memory_limits(root: Path, own: Path) -> Iterator[tuple[int, int]]:
    """Yields the limit of each control group, and how much of it is used, in bytes."""
    for group in _groups("memory", root, own):
        statistics = dict(line.split(" ", 1) for line in _read(group / "memory.stat").splitlines() if " " in line)
        for limit, use, prefix in LIMITS:
            most, used = statistics.get(limit) or _read(group / limit).strip(), _read(group / use)
            if most.isdigit():  # not 'max'
                reclaimed = sum(int(statistics.get(prefix + name, 0)) for name in RECLAIMED)
                yield int(most), max(0, int(used or 0) - reclaimed)


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Yields the control groups that limit this process, each before the one that it is in, as folders.

    In a container, some or all of them may be out of sight; the container's own is `root` there, or the controller's
    folder in it.
    """
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top = root
        elif controller in controllers.split(","):
            top = root / controller if (root / controller).exists() else root / controllers
        else:
            continue
        group = top / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _read(path: Path) -> str:
    """Reads a file of the kernel; "" if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def short_of_memory(jobs: int, fewer: str = "rerun with JOBS=1, such as make repro JOBS=1") -> str:
    """Explains why one of `jobs` trainings was killed, and what to do: `fewer`, if there was more than one."""
    remedy = fewer if jobs > 1 else "close other programs, or make batches or layers smaller"
    return f"memory was probably short; {remedy}"


def cluster_address(kernels: str) -> str | None:
    """Returns the address of the Ray cluster that is to train; `None` to train here.

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
