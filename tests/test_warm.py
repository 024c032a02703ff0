"""`python -m stages.…` in a fork of a process that has imported the libraries: as the real command, only sooner."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.repro.warm import warm_commands

from .test_ending import wait_until

PROBE = """\
import os, sys
print(sys.argv[1:], os.environ["WORD"], os.path.basename(os.getcwd()), "json.tool" in sys.modules)
print("to stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""

ENDLESS = """\
import os, subprocess, time
child = subprocess.Popen(["sleep", "1000"])
try:
    print(os.getpid(), child.pid, flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    child.terminate()
    print("interrupted", flush=True)
    input()
    raise SystemExit(7)
"""
# What the process that forks leaves for its own end, and what a command does
LIBRARY = """\
import atexit, tempfile
atexit.register(print, "not the command's")
folder = tempfile.TemporaryDirectory()
"""
LEAVES = """\
import atexit, concurrent.futures, pathlib, tempfile, threading, a_library
open_file = open("written", "w")
open_file.write("to the end")
print(pathlib.Path(a_library.folder.name).exists())
folder = tempfile.TemporaryDirectory()
print(folder.name)
pool = concurrent.futures.ThreadPoolExecutor()
pool.submit(print, "pool").result()
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
atexit.register(print, "at exit")
atexit.register(lambda: 1 / 0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/probe.py").write_text(PROBE)
    return tmp_path


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The commands of a process that has imported a library which Python does not import by itself."""
    far_away = (
        tmp_path / "a rather long name of a temporary folder" / "and another in it, longer than a socket's path may be"
    )
    far_away.mkdir(parents=True)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(far_away))
    with warm_commands() as warm:
        warm.start("others", ["json.tool"])
        yield warm.folder


def run(python: Path, project: Path, *arguments: str) -> tuple[int, str, str]:
    environment = os.environ | {"WORD": "ü b"}
    done = subprocess.run([python, *arguments], cwd=project, env=environment, text=True, capture_output=True)
    return done.returncode, done.stdout, done.stderr


def test_a_command_has_its_arguments_environment_folder_streams_and_status(commands, project) -> None:
    told = run(commands / "python", project, "-m", "stages.probe", "3", "a b")
    assert told == (3, f"['3', 'a b'] ü b {project.name} True\n", "to stderr\n")


def test_it_reads_the_code_anew(commands, project) -> None:
    for word in ("one", "two"):
        (project / "stages/probe.py").write_text(f"print('{word}')")
        assert run(commands / "python", project, "-m", "stages.probe") == (0, f"{word}\n", "")


def test_an_error_keeps_its_traceback(commands, project) -> None:
    (project / "stages/probe.py").write_text("1 / 0")
    status, _, errors = run(commands / "python", project, "-m", "stages.probe")
    assert status == 1
    assert errors.endswith("ZeroDivisionError: division by zero\n")


def test_another_command_is_run_by_python_itself(commands, project) -> None:
    assert run(commands / "python", project, "-c", "import sys; print(sys.executable)") == (
        0,
        f"{sys.executable}\n",
        "",
    )


def test_without_the_process_the_command_is_run_by_python_itself(commands, project) -> None:
    (commands.parent / "others").unlink()
    assert run(commands / "python", project, "-m", "stages.probe", "0")[:2] == (
        0,
        f"['0'] ü b {project.name} False\n",
    )


@pytest.fixture
def started(commands, project) -> Iterator[subprocess.Popen[str]]:
    """A command that does not end by itself."""
    (project / "stages/probe.py").write_text(ENDLESS)
    command = [commands / "python", "-m", "stages.probe"]
    with subprocess.Popen(command, cwd=project, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL])
def test_a_command_and_its_children_end_as_the_client_does(started, number: int) -> None:
    numbers = map(int, started.stdout.readline().split())
    started.send_signal(number)
    assert started.wait() == -number
    wait_until(lambda: not any(map(psutil.pid_exists, numbers)))


def test_ctrl_c_is_told_once(started) -> None:
    command = int(started.stdout.readline().split()[0])
    started.send_signal(signal.SIGINT)
    assert started.stdout.readline() == "interrupted\n"
    os.kill(command, signal.SIGINT)  # as well, as a terminal does
    printed = started.communicate("go on\n")
    assert (started.returncode, *printed) == (7, "", "")


def test_what_is_to_be_done_at_the_end_is_done(tmp_path, project, monkeypatch) -> None:
    (tmp_path / "a_library.py").write_text(LIBRARY)
    (project / "stages/probe.py").write_text(LEAVES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with warm_commands() as warm:
        warm.start("others", ["a_library"])
        for _ in range(2):
            status, printed, errors = run(warm.folder / "python", project, "-m", "stages.probe")
            is_there, folder, *more = printed.splitlines()
            assert (status, is_there, more) == (0, "True", ["pool", "thread", "at exit"])
            assert "ZeroDivisionError" in errors
            assert not Path(folder).exists()
            assert (project / "written").read_text() == "to the end"


@pytest.mark.parametrize(("code", "status"), [("None", 0), ("True", 1), ("256 + 3", 3), ("-1", 255), ("[1]", 1)])
def test_the_status_is_as_python_has_it(commands, project, code: str, status: int) -> None:
    (project / "stages/probe.py").write_text(f"raise SystemExit({code})")
    assert run(commands / "python", project, "-m", "stages.probe")[0] == status


def test_what_cannot_be_printed_is_a_failure(commands, project) -> None:
    (project / "stages/probe.py").write_text("print('no room for it')")
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([commands / "python", "-m", "stages.probe"], cwd=project, stdout=full).returncode == 120
