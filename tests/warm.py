"""A Python that has imported the libraries already, for tests in which their import is not the point.

TensorFlow alone takes five seconds to import, and a test that reruns a pipeline starts a dozen stages. Here one
process per test session imports the libraries, none of this project's modules, and forks for each stage. `folder`,
put first on PATH, holds the `python` that asks it to: same command, same folder, environment, standard streams and
exit status, in a process of its own. What a test strikes with a fault is run by the ordinary Python, as is all of
tools/verify.py; both compare their bytes with those of another run.
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

LIBRARIES = ("dvclive.keras", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure", "pandas", "pooch")
LIBRARIES += ("pydantic", "ruamel.yaml", "scipy.stats", "sklearn.datasets", "sklearn.metrics", "tqdm")

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith(("stages.", "tools.")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    message = json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]]).encode()
    socket.send_fds(server, [len(message).to_bytes(8)], [0, 1, 2])
    server.sendall(message)
    sys.exit(int.from_bytes(server.recv(1) or b"\\xff"))
"""


@contextlib.contextmanager
def warm_python() -> Iterator[Path]:
    """Starts the process; yields the folder with its `python`."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address, python = f"{folder}/socket", Path(folder, "bin", "python")
        python.parent.mkdir()
        python.write_text(CLIENT.format(python=sys.executable, address=address))
        python.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            command = [sys.executable, __file__, str(listening.fileno())]
            quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
            server = subprocess.Popen(command, env=quiet, pass_fds=[listening.fileno()])
            try:
                yield python.parent
            finally:
                server.terminate()
                server.wait()


def serve(listening: socket.socket) -> None:
    """Forks for each command, and the fork once more, so that one half can wait for the other."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        with connection:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                _answer(connection)


def _answer(connection: socket.socket) -> None:
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    folder, environment, command = json.loads(connection.makefile("rb").read(int.from_bytes(size)))
    process = os.fork()
    if process == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        _run(folder, environment, command)
    _, status = os.waitpid(process, 0)
    connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os._exit(0)


def _run(folder: str, environment: dict[str, str], command: list[str]) -> None:
    """Becomes `python -m` of the command."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.path[0] = folder
    status = 0
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    serve(socket.socket(fileno=int(sys.argv[1])))
