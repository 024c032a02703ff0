"""How many trainings run side by side: limits of control groups, which are faked, and of a process, which are real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.support import resources
from stages.support.resources import free_memory, total_memory, trainings_at_once
from tools.repro.__main__ import at_once

from .conftest import ROOT

GB = 10**9
IMAGES_64 = 60_000 * 64 * 64 * 4  # bytes of as many images as MNIST has, of 64 x 64 pixels


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the files of control groups, on a machine with 8 cores and 64 GB, of which 60 are free."""
    memory = type("", (), {"total": 64 * GB, "available": 60 * GB})
    monkeypatch.setattr(resources.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(resources, "_ulimits", list)
    return tmp_path


def limited(machine: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Writes the files of control groups; returns where they are, and the list of the process's own."""
    for name, text in files.items():
        (machine / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / name).write_text(f"{text}\n")
    (machine / "own").write_text(own)
    return machine, machine / "own"


V2, V1 = "0::/\n", "4:memory:/\n3:cpuset:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n"
NESTED = "0::/kubepods/pod1/container\n"
POD, OLD = "kubepods/pod1", "memory/memory"
CACHE = "active_file 3000000000\ninactive_file 900000000"
OLD_CACHE = "active_file 1\ntotal_active_file 2000000000\ntotal_inactive_file 2000000000"
HIDDEN = "hierarchical_memory_limit 2800000000"
NONE_OLD = {f"{OLD}.limit_in_bytes": "9223372036854771712"}
SLURM = "memory/slurm/uid_1/job_2/memory.limit_in_bytes"
THREE = {f"{POD}/container/memory.max": "9000000000", f"{POD}/memory.max": "4200000000"}
THREE |= {f"{POD}/memory.current": "1400000000", "kubepods/memory.max": "50000000000"}  # in use by another container
# the process's groups, their files, and how many trainings on MNIST run at once: each takes 0.8 GB, and all 0.19
CASES = {
    "no control groups": ("", {}, 8),
    "2, nothing limited": (V2, {"memory.max": "max", "memory.high": "max", "cpu.max": "max 100000"}, 8),
    "2, 4.2 GB": (V2, {"memory.max": "4200000000", "memory.current": "100000000"}, 4),
    "2, page cache": (V2, {"memory.max": "4200000000", "memory.current": "4000000000", "memory.stat": CACHE}, 4),
    "2, throttled": (V2, {"memory.max": "max", "memory.high": "2800000000", "memory.current": "0"}, 3),
    "2, the smallest of three": (NESTED, THREE, 3),
    "2, out of sight": ("0::/../../elsewhere\n", {"memory.max": "2800000000"}, 3),
    "2, a core and a half": (V2, {"cpu.max": "150000 100000"}, 2),
    "2, a tenth of a core": (V2, {"cpu.max": "10000 100000"}, 1),
    "2, the pod's cores": (NESTED, {f"{POD}/cpu.max": "300000 100000"}, 3),
    "1, nothing limited": (V1, NONE_OLD | {"cpu/cpu.cfs_quota_us": "-1"}, 8),
    "1, docker without name spaces": (
        V1.replace("memory:/", "memory:/docker/1234"),
        {f"{OLD}.limit_in_bytes": "4200000000", f"{OLD}.usage_in_bytes": "4100000000", f"{OLD}.stat": OLD_CACHE},
        4,
    ),
    "1, out of sight": (V1, NONE_OLD | {f"{OLD}.stat": HIDDEN}, 3),
    "1, two cores": (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2),
    "1, Slurm's job": ("5:memory:/slurm/uid_1/job_2/step_0\n", {SLURM: "2800000000"}, 3),
}


@pytest.mark.parametrize(("own", "files", "expected"), CASES.values(), ids=CASES)
def test_control_groups_limit_the_trainings_at_once(machine: Path, own: str, files: dict, expected: int) -> None:
    assert trainings_at_once(root=(places := limited(machine, own, files))[0], own=places[1]) == expected


@pytest.mark.parametrize(
    ("images", "gigabytes", "expected"),
    [
        (resources.MNIST_BYTES, 1.78, 1),
        (resources.MNIST_BYTES, 1.79, 2),
        (IMAGES_64, 2.58, 1),
        (IMAGES_64, 2.59, 2),
        (0, 0.1, 1),
        (10**12, 60, 1),
    ],
)
def test_a_training_takes_memory_as_its_images_do(machine: Path, images: int, gigabytes: float, expected: int) -> None:
    root, own = limited(machine, V2, {"memory.max": str(int(gigabytes * GB))})
    assert trainings_at_once(images, root, own) == expected


def test_the_prepared_images_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine)
    monkeypatch.setattr(resources, "_groups", lambda *_: [])
    monkeypatch.setattr(resources.psutil, "virtual_memory", lambda: type("", (), {"available": 4 * GB}))
    assert at_once() == 4  # of MNIST
    Path("data/prepared/train").mkdir(parents=True)
    with Path("data/prepared/train/images.npy").open("wb") as file:
        file.truncate(IMAGES_64)
    assert at_once() == 3


def test_a_network_is_checked_against_the_memory_of_the_container(machine: Path) -> None:
    root, own = limited(machine, NESTED, {"kubepods/memory.max": "1400000000", "kubepods/memory.current": "700000000"})
    assert total_memory(root, own) == 1_400_000_000
    assert free_memory(root, own) == 700_000_000
    assert total_memory(root, Path(os.devnull)) == 64 * GB


PRINT = "import os; from stages.support.resources import *; {}print(cores(), total_memory(), trainings_at_once())"


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
@pytest.mark.parametrize("option", ["-v", "-d"])
def test_ulimit_and_a_set_of_processors_count(option: str) -> None:
    """The processors of the process, or of its control group (cpuset), which the kernel applies to the process."""
    code = PRINT.format("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); ")
    command = ["bash", "-c", f'ulimit {option} 3000000; exec "$0" -c "{code}"', sys.executable]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == "1 3072000000 1\n"
