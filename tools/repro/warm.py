"""A Python that has imported the libraries already, so that a dozen processes do not each import them anew.

TensorFlow takes four to seven seconds to import, and a full run imports it twice per architecture. Here one process
imports the libraries, none of this project's modules, and forks for each command: a process of its own, with its own
memory, arguments, environment, standard streams and exit status, that reads the project's code and files as any other.
So a stage stays as independent as it was, and `dvc repro`, which knows nothing of this, gives the same bytes. It ends
with its client, which stands in for it: what the client is told by a signal, it is told (tools/repro/ending.py).

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
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tools.repro.ending import HELD_BY, SIGNALS, end_all, send_to_descendants, wait_until_free
from tools.repro.leaving import finish, start_anew

KERAS = ("keras", "pydantic.main", "ruamel.yaml", "dvclive.keras", "sklearn.metrics")
LIBRARIES = ("pydantic.main", "ruamel.yaml", "pandas", "matplotlib.backends.backend_agg", "matplotlib.style")
LIBRARIES += ("scipy.optimize", "scipy.stats", "jinja2", "tqdm", "pooch", "sklearn.datasets")
ROOT = Path(__file__).parents[2]

CLIENT = Path(__file__).with_name("client.py")
COMMAND = """\
#!/bin/sh
exec {python} -IS {client} {folder} {real} {name} "$@"
"""


class Warm:
    """The folder with the commands, and the processes that answer them, once they are started.

    A command waits for the first library of its process, and imports itself what else is not there yet.
    """

    def __init__(self, folder: Path, commands: Sequence[str]) -> None:
        self.folder, self.processes = folder / "bin", dict[str, subprocess.Popen[bytes]]()
        self.folder.mkdir()
        real = Path(sys.executable).parent
        paths = {"python": sys.executable, "client": CLIENT, "folder": folder, "real": real}
        quoted = {name: shlex.quote(str(path)) for name, path in paths.items()}
        for name in commands:
            (self.folder / name).write_text(COMMAND.format(**quoted, name=name))
            (self.folder / name).chmod(0o755)

    def start(self, name: str, libraries: Sequence[str]) -> None:
        """Starts the process of this name, "keras" or "others", which imports these libraries."""
        with socket.socket(socket.AF_UNIX) as listening:
            with contextlib.chdir(self.folder.parent):  # see tools/repro/client.py
                listening.bind(name)
            listening.listen()
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(listening.fileno()), str(self.folder.parent), *libraries],
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
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
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
                    try:
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        signal.signal(signal.SIGINT, _interrupt if interrupted != signal.SIG_IGN else interrupted)
                        listening.close()
                        _answer(connection)
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        os._exit(1)  # never back into the loop
        elif waiting:
            _import(waiting.pop(0))


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is told twice: by the terminal, and by the client
    raise KeyboardInterrupt


def _import(library: str) -> None:
    """Imports a library, Keras as the stages do; what cannot be imported is told by the command that needs it."""
    with contextlib.suppress(ImportError):
        if library == "keras":
            importlib.import_module("stages.common.models").import_keras()
        else:
            importlib.import_module(library)


def _answer(connection: socket.socket) -> NoReturn:
    """Becomes the command that is asked for; the client learns the exit status, or finds the connection closed."""
    start_anew()
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    message = connection.recv(int.from_bytes(size), socket.MSG_WAITALL)
    folder, environment, command = json.loads(message)
    starter = os.dup(sys.stdin.fileno())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _end_with(connection, starter)
    sys.argv = command
    sys.path[0] = folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "tools")]:
        del sys.modules[name]  # each command reads the project's code anew
    status = finish(_run(command[0]))
    for number in (signal.SIGINT, *SIGNALS):
        signal.signal(number, signal.SIG_IGN)  # the client, once it has the status, ends before this does
    connection.sendall(bytes([status]))
    os._exit(status)


def _end_with(connection: socket.socket, starter: int) -> None:
    """Has this process end with its client, with whom started the process with the libraries, and with its DVC."""

    def obey() -> None:
        while True:
            asked, _, _ = select.select([connection, starter], [], [])
            with contextlib.suppress(OSError):
                if asked == [connection] and (told := connection.recv(1)):
                    if told[0] != signal.SIGINT:  # which a terminal sends to all
                        send_to_descendants(told[0])
                    os.kill(os.getpid(), told[0])
                    continue
            end_all()

    def outlive_no_dvc(path: str) -> None:
        wait_until_free(path)
        end_all()

    threading.Thread(target=obey, daemon=True).start()
    if HELD_BY in os.environ:
        threading.Thread(target=outlive_no_dvc, args=[os.environ[HELD_BY]], daemon=True).start()
    os.register_at_fork(after_in_child=connection.close)  # or the client would wait for the fork as well


def _run(module: str) -> int:
    """Runs a module as `python -m` does; returns its exit status."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
            return 1
        return (end.code or 0) & 0xFF
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[3:])
    shutil.rmtree(sys.argv[2], ignore_errors=True)  # whom started this was killed
