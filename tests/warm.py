"""A Python that has imported the libraries already, for tests in which their import is not the point.

TensorFlow alone takes five seconds to import, DVC half a second, and a test that reruns a pipeline starts a dozen
processes. Here one process per test session imports the libraries, none of this project's modules, and forks for each
command. The folder that `warm_commands` yields, put first on PATH, holds a `python` and a `dvc` that ask it to: same
command, same folder, environment, standard streams and exit status, in a process of its own. What a test strikes with
a fault is run by the ordinary commands, as is all of tools/verify.py; both compare their bytes with another run's.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("dvclive.keras", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure", "pandas", "pooch")
LIBRARIES += ("pydantic", "ruamel.yaml", "scipy.stats", "sklearn.datasets", "sklearn.metrics", "tqdm")
LIBRARIES += ("dvc.cli", "dvc.commands.repro", "dvc.render", "dvc.repo.reproduce", "dvc.repo.status", "networkx")

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
name, *arguments = sys.argv
if name.endswith("/dvc"):
    command = ["dvc", *arguments]
elif arguments[:1] == ["-m"] and arguments[1].startswith(("stages.", "tools.")):
    command = arguments[1:]
else:
    os.execv({python!r}, [{python!r}, *arguments])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    message = json.dumps([os.getcwd(), dict(os.environ), command]).encode()
    socket.send_fds(server, [len(message).to_bytes(8)], [0, 1, 2])
    server.sendall(message)
    sys.exit(int.from_bytes(server.recv(1) or b"\\xff"))
"""


@contextlib.contextmanager
def warm_commands() -> Iterator[Path]:
    """Starts the process; yields the folder with its `python` and `dvc`."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address, commands = f"{folder}/socket", Path(folder, "commands")
        commands.mkdir()
        for name in ("dvc", "python"):
            (commands / name).write_text(CLIENT.format(python=sys.executable, address=address))
            (commands / name).chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            command = [sys.executable, __file__, str(listening.fileno())]
            quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
            server = subprocess.Popen(command, env=quiet, pass_fds=[listening.fileno()])
            try:
                yield commands
            finally:
                server.terminate()
                server.wait()


def serve(listening: socket.socket) -> None:
    """Forks for each command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    while True:
        connection, _ = listening.accept()
        with connection:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                _answer(connection)


def _answer(connection: socket.socket) -> NoReturn:
    """Becomes the `python -m` that is asked for; the client learns the exit status, or finds the connection closed."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    folder, environment, command = json.loads(connection.makefile("rb").read(int.from_bytes(size)))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.path[0] = folder
    status = _run(command[0])
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status]))
    os._exit(status)


def _run(module: str) -> int:
    """Runs a module as `python -m` does; returns its exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    serve(socket.socket(fileno=int(sys.argv[1])))
