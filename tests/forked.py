"""Runs `dvc` and `python -m` in forks of a process that has imported their libraries, so that tests need not wait.

An import of TensorFlow takes four seconds, of DVC one. What runs is the same: DVC's own command, and the project's own
modules, read anew in each fork. What they start is forked too, such as stages, as `subprocess.Popen` is replaced.
Tests of processes, and those with `Project.ordinary`, run the real ones.
"""

import contextlib
import functools
import gc
import multiprocessing
import os
import pty
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from operator import methodcaller
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Project

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preload"])
OWN = ("stages", "tools", "tests")


def run(project: "Project", *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command line that begins with `dvc` or `python -m`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as nothing:  # noqa: PTH123
        process = _start(project, command, [nothing, out, err])
        process.join()
        return subprocess.CompletedProcess(command, process.exitcode, _text(out), _text(err))


@dataclass
class Started:
    """A command that runs in a session of its own, and the file that it prints into."""

    process: BaseProcess
    printed: IO[bytes]

    def has_ended(self) -> bool:
        return not self.process.is_alive()

    def wait(self) -> tuple[int, str]:
        """Waits for its end; returns its exit status, and what it printed."""
        self.process.join()
        return self.process.exitcode, _text(self.printed)


@contextlib.contextmanager
def started(project: "Project", *command: str, **variables: str) -> Iterator[Started]:
    """Starts a command line that begins with `dvc` or `python -m`, and kills it at the end."""
    with tempfile.TemporaryFile() as printed:
        process = _start(project, command, [printed] * 3, own_session=True, **variables)
        try:
            yield Started(process, printed)
        finally:
            process.kill()
            process.join()


def on_terminal(project: "Project", *command: str, typed: str = "") -> tuple[int, str]:
    """Runs a command on a terminal of 120 columns; returns its exit status, and what it showed there."""
    terminal, end = pty.openpty()
    process = _start(project, command, [end] * 3, TERM="xterm", COLUMNS="120")
    os.close(end)
    os.write(terminal, typed.encode())
    shown = b""
    with contextlib.suppress(OSError):  # which a pseudo-terminal raises when its other end is closed
        while block := os.read(terminal, 65536):
            shown += block
    os.close(terminal)
    process.join()
    return process.exitcode, shown.decode(errors="replace")


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@dataclass
class _OpenFile:
    """A file that another process gets, as a descriptor of its own."""

    file: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return methodcaller("detach"), (DupFd(self.file if isinstance(self.file, int) else self.file.fileno()),)


def _start(
    project: "Project", command: Sequence[str], files: list[Any], own_session: bool = False, **variables: str
) -> BaseProcess:
    """Starts a command with these files as its standard ones."""
    arguments = (list(command), str(project.path), {**project.environment, **variables}, own_session)
    process = CONTEXT.Process(target=_enter, args=([_OpenFile(file) for file in files], *arguments))
    process.start()
    return process


def _enter(files: list[int], command: list[str], folder: str, environment: dict[str, str], own_session: bool) -> None:
    """Runs in a fork of the server."""
    from tqdm import tqdm

    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  in place of that of `multiprocessing`
    if own_session:
        os.setsid()
    os.chdir(folder)
    tqdm.monitor_interval = 0  # else it starts a thread, beside which a process cannot be forked safely
    subprocess.Popen = Popen
    _become(command, environment)


class Popen(subprocess.Popen):
    """Goes on in a fork if the command is `dvc` or `python -m` of this Python, also in a shell; else starts it."""

    def __init__(self, args: Any, *positional: Any, **options: Any) -> None:
        environment = dict(os.environ if options.get("env") is None else options["env"])
        line = [args] if isinstance(args, str | Path) else list(map(str, args))
        if Path(line[0]).name in ("sh", "bash") and line[-2:-1] == ["-c"]:
            line = shlex.split(line[-1])
        python = shutil.which(line[0], path=environment.get("PATH")) or ""
        is_known = line[0] == "dvc" or (line[1:2] == ["-m"] and line[2].partition(".")[0] in (*OWN, "dvc"))
        if is_known and Path(python).parent == Path(sys.executable).parent:
            options["preexec_fn"] = functools.partial(_go_on, line, environment, options.get("preexec_fn"))
        super().__init__(args, *positional, **options)


def _go_on(command: list[str], environment: dict[str, str], prepare: Callable[[], object] | None) -> None:
    """Runs a command in this fork, without what a new program would not have: handlers of signals, and open files."""
    if prepare:
        prepare()
    gc.enable()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for path in Path("/dev/fd").iterdir():
        if int(path.name) > 2:
            with contextlib.suppress(OSError):  # that of the list of files
                os.dup2(nothing, int(path.name), inheritable=False)
    _become(command, environment)


def _become(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a module as `python -m` does, and ends this process."""
    os.environ.clear()
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    _, _, module, *arguments = ["python", "-m", *command] if command[0] == "dvc" else command
    sys.path[0] = str(Path.cwd())
    sys.argv = [module, *arguments]
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
