"""If any process of `make repro` is ended or killed, all end; nothing stays behind, and the next run completes.

Plain `dvc repro` leaves a stage running if DVC alone is killed; here it ends as well.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
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


def at_work(folder: Path, part: str = "") -> list[psutil.Process]:
    """The processes that work in a folder and have this part in their command line."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # has just ended
            if Path(process.cwd()) == folder and part in " ".join(process.cmdline()):
                processes.append(process)
    return processes


@contextlib.contextmanager
def running(project: Project, *command: str) -> Iterator[subprocess.Popen]:
    """`make repro` in a session of its own, with no folder but one for temporary files. Waits until all has ended."""
    (temporary := project.path.parent / "temporary").mkdir()
    environment = project.ordinary.environment | {"TMPDIR": str(temporary), "SHELL": "/bin/sh"}
    options = {"cwd": project.path, "env": environment, "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:
        yield process
    wait_until(lambda: not at_work(project.path))
    assert process.returncode != 0


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
    "make": (MAKE, os.kill, [TERM]),
    "make, killed": (MAKE, os.kill, [KILL]),
    "the terminal": (MAKE, os.killpg, [HUP]),
    "tools.repro, twice": (REPRO, os.kill, [TERM, TERM]),
    "tools.repro, killed": (REPRO, os.kill, [KILL]),
}


@pytest.mark.parametrize(("command", "send", "numbers"), CASES.values(), ids=CASES)
def test_all_end_with_any(endless, built_project, command: tuple[str, ...], send: Callable, numbers: list[int]) -> None:
    with running(endless, *command) as process:
        wait_until(lambda: len(at_work(endless.path, "-m stages.report")) >= (2 if command == REPRO else 1))
        for number in numbers:
            send(process.pid, number)  # which stays, as nobody has waited for it yet
    if (command, numbers) == (REPRO, [KILL]):  # leaves its temporary folder, as any killed command does
        endless.run("git", "checkout", "-q", "stages/report.py")
        endless.run(*REPRO)
        assert outputs(endless) == outputs(built_project)
    else:
        assert not list((endless.path.parent / "temporary").iterdir())


def test_ctrl_c_again_ends_a_stage_that_does_not_heed_it(endless: Project) -> None:
    (endless.path / "stages/report.py").write_text(STUBBORN)
    with running(endless, *REPRO) as process:
        wait_until((endless.path / "stubborn").exists)

        def press() -> bool:
            os.killpg(process.pid, INT)
            return process.poll() is not None

        wait_until(press)


@pytest.mark.parametrize(("nohup", "status"), [([], 128 + HUP), (["nohup"], 0)])
def test_nohup_is_heeded(nohup: list[str], status: int) -> None:
    code = "from tools.repro.ending import *; exit_on_signals(); signal.raise_signal(signal.SIGHUP)"
    assert subprocess.run([*nohup, sys.executable, "-c", code], cwd=ROOT, stdout=-3, stderr=-3).returncode == status
