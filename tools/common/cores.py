"""How many trainings or other stages this machine runs at once."""

import os

import psutil

MEMORY = 1.5e9  # bytes that a stage may need; the largest, a training of cnn, takes 1.2e9 with MNIST


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once() -> int:
    """How many stages to run at once: as many as there are cores, and as memory allows."""
    return max(1, min(cores(), int(psutil.virtual_memory().available / MEMORY)))
