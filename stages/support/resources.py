"""What this machine has for trainings."""

import math
import os

import psutil

from stages.common.prepared import Dataset

BASE = 0.7e9  # bytes


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trainings_at_once(dataset: Dataset) -> int:
    needed = BASE + 3 * 4 * dataset.count * math.prod(dataset.image)
    return max(1, min(cores(), int(psutil.virtual_memory().available / needed)))
