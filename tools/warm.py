"""A Python that has imported the libraries already, so that a dozen processes do not each import them anew.

TensorFlow takes four to seven seconds to import, and a full run imports it twice per architecture. Here one process
imports the libraries, none of this project's modules, and forks for each command: a process of its own, with its own
memory, arguments, environment, standard streams and exit status, that reads the project's code and files as any other.
So a stage stays as independent as it was, and `dvc repro`, which knows nothing of this, gives the same bytes.

There are two such processes, one with Keras and one for commands that need not wait for it. A folder of commands
holds a `python`, and for tests a `dvc`; where it is first on PATH, they ask these processes for `python -m stages.…`,
`python -m tools.…` and `dvc …`. Whatever else, or if a process is not there, is run by the real command.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

KERAS = ("keras", "pydantic.main", "ruamel.yaml", "dvclive.keras", "sklearn.metrics")
NEED_KERAS = ("stages.train", "stages.evaluate")
LIBRARIES = ("pydantic.main", "ruamel.yaml", "pandas", "matplotlib.backends.backend_agg", "matplotlib.style")
LIBRARIES += ("scipy.optimize", "scipy.stats", "jinja2", "tqdm", "pooch", "sklearn.datasets")
ROOT = Path(__file__).parents[1]

COMMAND = """\
#!/bin/sh
exec {python} -IS {client} {name} "$@"
"""
CLIENT = """\
import json, os, signal, socket, sys
name, *arguments = sys.argv[1:]
command = ["dvc", *arguments]
if name == "python":
    command = arguments[1:] if arguments[:1] == ["-m"] and arguments[1].startswith(("stages.", "tools.")) else None
folder = os.getcwd()
with socket.socket(socket.AF_UNIX) as server:
    os.chdir({folder!r})  # as a socket's path may have no more than a hundred characters
    failed = not command or server.connect_ex("keras" if command[0] in {need_keras!r} else "others")
    os.chdir(folder)
    if failed:
        path = os.path.join({real!r}, name)
        os.execv(path, [path, *arguments])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself is told
    message = json.dumps([folder, dict(os.environ), command]).encode()
    socket.send_fds(server, [len(message).to_bytes(8)], [0, 1, 2])
    server.sendall(message)
    sys.exit(int.from_bytes(server.recv(1) or b"\\xff"))
"""


class Warm:
    """The folder with the commands, and the processes that answer them, once they are started.

    A command waits for the first library of its process, and imports itself what else is not there yet.
    """

    def __init__(self, folder: Path, commands: Sequence[str]) -> None:
        self.folder, self.processes = folder / "bin", dict[str, subprocess.Popen[bytes]]()
        self.folder.mkdir()
        client = folder / "client.py"
        client.write_text(
            CLIENT.format(folder=str(folder), need_keras=NEED_KERAS, real=str(Path(sys.executable).parent))
        )
        for name in commands:
            quoted = {"python": shlex.quote(sys.executable), "client": shlex.quote(str(client)), "name": name}
            (self.folder / name).write_text(COMMAND.format(**quoted))
            (self.folder / name).chmod(0o755)

    def start(self, name: str, libraries: Sequence[str]) -> None:
        """Starts the process of this name, "keras" or "others", which imports these libraries."""
        with socket.socket(socket.AF_UNIX) as listening:
            with contextlib.chdir(self.folder.parent):  # see CLIENT
                listening.bind(name)
            listening.listen()
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(listening.fileno()), *libraries],
                cwd=ROOT,
                pass_fds=[listening.fileno()],
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # TensorFlow's start-up messages; a command has the streams of who asks
            )

    def stop(self, name: str) -> None:
        """Ends the process of this name."""
        with self.processes.pop(name) as process:
            process.terminate()


@contextlib.contextmanager
def warm_commands(commands: Sequence[str] = ("python",)) -> Iterator[Warm]:
    """Makes the folder with these commands, and ends at last the processes that were started for them."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        warm = Warm(Path(folder), commands)
        try:
            yield warm
        finally:
            for name in list(warm.processes):
                warm.stop(name)


def serve(listening: socket.socket, libraries: Sequence[str]) -> None:
    """Forks for each command, and imports the libraries while there is none; ends with the process that started it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
    first, *waiting = libraries
    _import(first)
    while True:
        asked, _, _ = select.select([listening, sys.stdin], [], [], 0 if waiting else None)
        if sys.stdin in asked:
            return
        if asked:
            connection, _ = listening.accept()
            with connection:
                gc.freeze()  # a child that collects garbage would copy all the memory that it shares
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    listening.close()
                    _answer(connection)
        elif waiting:
            _import(waiting.pop(0))


def _import(library: str) -> None:
    """Imports a library, Keras as the stages do; what cannot be imported is told by the command that needs it."""
    with contextlib.suppress(ImportError):
        if library == "keras":
            importlib.import_module("stages.models").import_keras()
        else:
            importlib.import_module(library)


def _answer(connection: socket.socket) -> NoReturn:
    """Becomes the command that is asked for; the client learns the exit status, or finds the connection closed."""
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
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "tools")]:
        del sys.modules[name]  # each command reads the project's code anew
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
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
