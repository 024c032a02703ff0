"""Runs `dvc` and `python -m` in forks of a process that has imported their libraries, so that tests need not wait.

An import of TensorFlow takes four seconds, of DVC one. What runs is the same: DVC's own command, and the project's own
modules, read anew in each fork. The stages that DVC starts are forked too, for which `dvc.stage.run._run` is replaced;
test_pipeline.py runs the real processes.
"""

import contextlib
import multiprocessing
import os
import pty
import runpy
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Project

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preload"])
OWN = ("stages", "tools", "tests")


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command line that begins with `dvc` or `python -m`."""
    with tempfile.TemporaryDirectory() as printed:
        out, err = Path(printed, "out"), Path(printed, "err")
        arguments = (list(command), str(folder), dict(environment), str(out), str(err))
        process = CONTEXT.Process(target=_enter, args=arguments)
        process.start()
        process.join()
        texts = [path.read_text(errors="replace") if path.exists() else "" for path in (out, err)]
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def on_terminal(project: "Project", *command: str, typed: str = "") -> tuple[int, str]:
    """Runs a command on a terminal of 120 columns; returns its exit status, and what it showed there."""
    terminal, end = pty.openpty()
    environment = {**project.environment, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, cwd=project.path, env=environment, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        os.write(terminal, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # which a pseudo-terminal raises when its other end is closed
            while block := os.read(terminal, 65536):
                shown += block
    os.close(terminal)
    return process.returncode, shown.decode(errors="replace")


def _enter(command: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    """Runs in a fork of the server."""
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    if command[0] == "dvc":
        import dvc.stage.run

        dvc.stage.run._run = _run_stage
    _become(command, environment)


def _become(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a module as `python -m` does, and ends this process."""
    os.environ.clear()
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    module, arguments = ("dvc", command[1:]) if command[0] == "dvc" else (command[2], command[3:])
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


def _run_stage(_: str, cmd: str, **options: object) -> None:
    """Replaces `dvc.stage.run._run`."""
    from dvc.stage.exceptions import StageCmdFailedError

    line = shlex.split(cmd)
    if line[:2] != ["python", "-m"]:
        status = subprocess.run(["sh", "-c", cmd], cwd=options["cwd"], env=options["env"], check=False).returncode
    else:
        sys.stdout.flush()
        if not (child := os.fork()):
            os.chdir(options["cwd"])
            _become(line, options["env"])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise StageCmdFailedError(cmd, status)
