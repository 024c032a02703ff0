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

from tools.repro import warm as warm_module
from tools.repro.ending import is_alive
from tools.repro.warm import Warm, warm_commands

from .conftest import Project
from .test_ending import at_work, wait_until

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
# What a library leaves for the end of the process, as matplotlib does; and what a command does
LIBRARY = """\
import atexit, shutil, tempfile
atexit.register(print, "the library's end")
folder = tempfile.mkdtemp()
atexit.register(shutil.rmtree, folder)
"""
LEAVES = """\
import atexit, concurrent.futures, pathlib, tempfile, threading, a_library
open_file = open("written", "w")
open_file.write("to the end")
print(pathlib.Path(a_library.folder).exists())
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
def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warm]:
    """A server that has imported a library which Python does not import by itself."""
    far_away = tmp_path / "a rather long name of a folder" / "and another in it, longer than a socket's path may be"
    far_away.mkdir(parents=True)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(far_away))
    with warm_commands() as warm:
        warm.start("tables", ["json.tool"])
        yield warm


def run(warm: Warm, project: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    environment = warm.environment | {"WORD": "ü b"} | more
    done = subprocess.run(["python", *arguments], cwd=project, env=environment, text=True, capture_output=True)
    return done.returncode, done.stdout, done.stderr


def test_a_command_has_its_arguments_environment_folder_streams_and_status(warm, project) -> None:
    told = run(warm, project, "-m", "stages.probe", "3", "a b")
    assert told == (3, f"['3', 'a b'] ü b {project.name} True\n", "to stderr\n")


def test_it_reads_the_code_anew(warm, project) -> None:
    for word in ("one", "two"):
        (project / "stages/probe.py").write_text(f"print('{word}')")
        assert run(warm, project, "-m", "stages.probe") == (0, f"{word}\n", "")


def test_an_error_keeps_its_traceback(warm, project) -> None:
    (project / "stages/probe.py").write_text("1 / 0")
    status, _, errors = run(warm, project, "-m", "stages.probe")
    assert status == 1
    assert errors.endswith("ZeroDivisionError: division by zero\n")


def test_another_command_is_run_by_python_itself(warm, project) -> None:
    assert run(warm, project, "-c", "import sys; print(sys.executable)") == (
        0,
        f"{sys.executable}\n",
        "",
    )


def test_without_a_server_the_command_is_run_by_python_itself(warm, project) -> None:
    warm.stop("tables")
    assert run(warm, project, "-m", "stages.probe", "0")[:2] == (
        0,
        f"['0'] ü b {project.name} False\n",
    )


@pytest.fixture
def started(warm, project) -> Iterator[subprocess.Popen[str]]:
    """A command that does not end by itself."""
    (project / "stages/probe.py").write_text(ENDLESS)
    command, streams = ["python", "-m", "stages.probe"], {"stdin": -1, "stdout": -1, "stderr": -1}
    with subprocess.Popen(command, cwd=project, env=warm.environment, **streams, text=True) as process:
        yield process


def read_processes(started: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command and its child; both run until they are ended."""
    return [psutil.Process(int(number)) for number in started.stdout.readline().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL])
def test_a_command_and_its_children_end_as_the_client_does(started, number: int) -> None:
    processes = read_processes(started)
    started.send_signal(number)
    assert started.wait() == -number
    wait_until(lambda: not any(map(is_alive, processes)))


def test_ctrl_c_reaches_a_command_once(started) -> None:
    """A terminal tells it to the client's process group, to which the command does not belong."""
    command, _ = read_processes(started)
    assert os.getpgid(command.pid) != os.getpgid(started.pid)
    started.send_signal(signal.SIGINT)
    assert started.stdout.readline() == "interrupted\n"
    printed = started.communicate("go on\n")
    assert (started.returncode, *printed) == (7, "", "")


def test_what_is_to_be_done_at_the_end_is_done(tmp_path, project, monkeypatch) -> None:
    (tmp_path / "a_library.py").write_text(LIBRARY)
    (project / "stages/probe.py").write_text(LEAVES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with warm_commands() as warm:
        warm.start("tables", ["a_library"])
        for _ in range(2):
            status, printed, errors = run(warm, project, "-m", "stages.probe")
            is_there, folder, *more = printed.splitlines()
            assert (status, is_there, more) == (0, "True", ["pool", "thread", "at exit", "the library's end"])
            assert "ZeroDivisionError" in errors
            assert not Path(folder).exists()
            assert (project / "written").read_text() == "to the end"


@pytest.mark.parametrize(("code", "status"), [("None", 0), ("True", 1), ("256 + 3", 3), ("-1", 255), ("[1]", 1)])
def test_the_status_is_as_python_has_it(warm, project, code: str, status: int) -> None:
    (project / "stages/probe.py").write_text(f"raise SystemExit({code})")
    assert run(warm, project, "-m", "stages.probe")[0] == status


def test_what_cannot_be_printed_is_a_failure(warm, project) -> None:
    (project / "stages/probe.py").write_text("print('no room for it')")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(["python", "-m", "stages.probe"], cwd=project, env=warm.environment, stdout=full)
    assert done.returncode == 120


def test_a_command_that_a_signal_ends_is_told_as_such(warm, project) -> None:
    (project / "stages/probe.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert run(warm, project, "-m", "stages.probe")[0] == -signal.SIGSEGV


def test_a_stopped_client_stops_its_command(started) -> None:
    command, _ = read_processes(started)
    started.send_signal(signal.SIGTSTP)
    wait_until(lambda: command.status() == psutil.STATUS_STOPPED)
    started.send_signal(signal.SIGCONT)
    wait_until(lambda: command.status() != psutil.STATUS_STOPPED)
    started.kill()


def test_what_a_command_leaves_running_ends_with_it(warm, project) -> None:
    (project / "stages/probe.py").write_text("import subprocess; subprocess.Popen(['sleep', '1000']); print('ended')")
    with subprocess.Popen(
        ["python", "-m", "stages.probe"], cwd=project, env=warm.environment, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout.readline() == "ended\n"
        wait_until(lambda: not at_work(project, "sleep 1000"))
    assert started.returncode == 0


def test_a_command_ends_with_a_server_that_is_killed(warm, started) -> None:
    processes = read_processes(started)
    warm.servers["tables"].kill()
    assert started.wait() == 1
    assert not any(map(is_alive, processes))
    assert started.stderr.read() == "error: stages.probe: the warm server that ran it has died\n"


def test_what_python_reads_when_it_starts_is_heeded(warm, project) -> None:
    (project / "stages/probe.py").write_text("import sys; print(sys.flags.optimize)")
    assert run(warm, project, "-m", "stages.probe", PYTHONOPTIMIZE="2")[1] == "2\n"


def test_a_command_within_a_command_uses_the_same_servers(warm, project, monkeypatch) -> None:
    for name, value in warm.commands.items():
        monkeypatch.setenv(name, value)
    with warm_commands() as inner:
        inner.start("tables")
        assert not inner.servers
        assert run(inner, project, "-m", "stages.probe", "3")[1].endswith(" True\n")
    assert run(warm, project, "-m", "stages.probe", "3")[1].endswith(" True\n"), "it has not ended them"
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")  # which these servers have not read
    with warm_commands() as inner:
        inner.start("tables", ["json.tool"])
        assert inner.servers


def test_a_server_forks_from_one_thread_though_libraries_would_start_more(built_project: Project) -> None:
    for name, server in built_project.warm.servers.items():
        assert psutil.Process(server.pid).num_threads() == 1, name


def test_a_folder_for_temporary_files_has_nothing_executable(warm) -> None:
    assert [path for path in warm.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("why", ["another system", "a ZIP download lost the executable bit"])
def test_where_no_server_can_be_used_the_real_commands_run(why: str, tmp_path, project, monkeypatch) -> None:
    if why == "another system":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        for name in ("python", "dvc"):
            (tmp_path / name).touch()
        monkeypatch.setattr(warm_module, "BIN", tmp_path)
    with warm_commands() as warm:
        warm.start("tables")
        assert not warm.servers
        assert run(warm, project, "-m", "stages.probe", "3")[0] == 3
        version = [*warm.dvc, "--version"]
        assert subprocess.run(version, env=warm.environment, capture_output=True, check=True).stdout
