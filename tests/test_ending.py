"""Whichever process of `make repro` is asked to end or killed, all end; nothing stays behind, and a next run completes.

Plain `dvc repro` leaves a stage running if DVC alone is killed; here it ends as well.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .conftest import ROOT, Project
from .faults import MAKE, outputs, wait_until

REPRO = ("python", "-m", "tools.repro", "--jobs", "2")
ENDLESS = """\
    import tempfile, time
    Path(tempfile.mkdtemp(), "left").touch()
    Path(f"endless-{arguments.architecture}").touch()
    time.sleep(1000)
"""
STUBBORN = """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open("stubborn", "w").close()
time.sleep(1000)
"""
# What the command line of each has
PARTS = {"tools.repro": "-m tools.repro --jobs", "stage": "-m stages.report", "dvc": "-m dvc --wait-for-lock"}


def at_work(folder: Path, part: str = "") -> list[psutil.Process]:
    """The processes that work in a folder and have this part in their command line, the oldest first."""
    processes = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # has just ended
            if Path(process.cwd()) == folder and part in " ".join(process.cmdline()):
                processes[process] = process.create_time()
    return sorted(processes, key=processes.__getitem__)


class Running:
    """`make repro` in a session of its own, with no folder but this one for temporary files."""

    def __init__(self, project: Project, command: tuple[str, ...]) -> None:
        self.folder, self.temporary = project.path, project.path.parent / "temporary"
        self.temporary.mkdir()
        environment = project.ordinary.environment | {"TMPDIR": str(self.temporary), "SHELL": "/bin/sh"}
        self.process = subprocess.Popen(
            command, cwd=project.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def find(self, part: str) -> list[psutil.Process]:
        """The processes that have this part."""
        if part in ("make", "terminal"):
            return [psutil.Process(self.process.pid)]
        return at_work(self.folder, PARTS[part])

    def wait_for_all(self) -> str:
        """Waits until no process is left; returns what was printed."""
        printed, _ = self.process.communicate()
        wait_until(lambda: not at_work(self.folder))
        return printed


@pytest.fixture
def endless(project: Project) -> Project:
    """The tiny project with two stages that have no end; and with no end to patience."""
    stage = project.path / "stages/report.py"
    stage.write_text(stage.read_text().replace("    params = load_params()\n", ENDLESS))
    module = project.path / "tools/repro/schedule.py"
    text = module.read_text()
    module.write_text(text.replace("\nPATIENCE = 10 ", "\nPATIENCE = 1000 "))
    assert module.read_text() != text
    return project


TERM, HUP, INT, KILL = signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL
CASES = {
    "make": (MAKE, "make", [TERM]),
    "make, killed": (MAKE, "make", [KILL]),
    "the terminal": (MAKE, "terminal", [HUP]),
    "tools.repro, twice": (REPRO, "tools.repro", [TERM, TERM]),
    "tools.repro, killed": (REPRO, "tools.repro", [KILL]),
    "dvc, killed": (REPRO, "dvc", [KILL]),
    "stage, killed": (REPRO, "stage", [KILL]),
}


@pytest.mark.parametrize(("command", "part", "numbers"), CASES.values(), ids=CASES)
def test_all_end_with_any(
    endless: Project, built_project: Project, command: tuple[str, ...], part: str, numbers: list[int]
) -> None:
    running = Running(endless, command)
    wait_until(lambda: len(running.find("stage")) >= (2 if command == REPRO else 1))
    for left, process in reversed(list(enumerate(running.find(part)))):
        for number in numbers:
            with contextlib.suppress(psutil.NoSuchProcess):
                _ = os.killpg(process.pid, number) if part == "terminal" else process.send_signal(number)
        wait_until(lambda left=left: len(running.find("stage")) <= left)  # the other stage goes on
    running.wait_for_all()
    assert running.process.returncode != 0
    if part == "tools.repro" and numbers == [KILL]:  # leaves its temporary folder, as any killed command does
        endless.run("git", "checkout", "-q", "stages/report.py")
        endless.run(*REPRO)
        assert outputs(endless) == outputs(built_project)
    else:
        assert not list(running.temporary.iterdir())


def test_ctrl_c_again_ends_a_stage_that_does_not_heed_it(endless: Project) -> None:
    (endless.path / "stages/report.py").write_text(STUBBORN)
    running = Running(endless, REPRO)
    wait_until((endless.path / "stubborn").exists)

    def press() -> bool:
        os.killpg(running.process.pid, INT)
        return running.process.poll() is not None

    wait_until(press)
    running.wait_for_all()
    assert running.process.returncode != 0


@pytest.mark.parametrize(("nohup", "status"), [([], 128 + HUP), (["nohup"], 0)])
def test_nohup_is_heeded(nohup: list[str], status: int) -> None:
    code = "from tools.repro.ending import *; end_when_asked(); signal.raise_signal(signal.SIGHUP)"
    assert subprocess.run([*nohup, sys.executable, "-c", code], cwd=ROOT, stdout=-3, stderr=-3).returncode == status
