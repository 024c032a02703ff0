"""Runs commands in forks of a process that has imported the libraries already (started by tools/repro/warm.py).

    python -m tools.repro.server SOCKET FOLDER LIBRARY...

A fork gets the streams, folder, environment and arguments of the client that asks (tools/repro/client.py). It leaves
the loop below and runs the module as `python -m` does, so exceptions, exit status and Python's own end are the usual
ones. It reads the project's modules anew, which the server does not keep.

A command ends with its client. For that it leads a process group: the server sends the client's signals to the whole
group, ends the group when the client or the leader has ended, and ends all groups when its own starter has died.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tools.repro.client import MOMENT, PATIENCE

ENDING = {signal.SIGTERM, signal.SIGHUP}  # that ask a process to end


@dataclass
class Command:
    """A command that runs, or whose process group is still there.

    Attributes:
        group: number of its process, and of its group.
        client: the connection to the client; `None` once one of the two has ended.
        asked: whether the group was asked to end.
        last: when the group is killed, by `time.monotonic`; `None` as long as it may go on.
        running: whether its process has not ended.
    """

    group: int
    client: socket.socket | None
    asked: bool = False
    last: float | None = None
    running: bool = True

    def send(self, number: int) -> None:
        """Sends a signal to the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
            os.killpg(self.group, number)
        self.asked = self.asked or number in ENDING

    def end(self, patience: float = PATIENCE) -> None:
        """Asks the group to end, once; it is killed when patience is over."""
        if not self.asked:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)  # a stopped process heeds nothing else
        self.last = min(self.last or float("inf"), time.monotonic() + patience)

    def look(self) -> bool:
        """Tells the client if its command has ended, and kills the group if it is time; whether any of it is left."""
        if self.running:
            ended, status = os.waitpid(self.group, os.WNOHANG)
            self.running = not ended
            if ended:
                if self.client:
                    with contextlib.suppress(OSError):
                        self.client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))
                    self.hang_up()
                self.end()
        if self.last is None:
            return True
        over = time.monotonic() - self.last
        if over >= 0:
            self.send(signal.SIGKILL)
        try:
            os.killpg(self.group, 0)
        except (ProcessLookupError, PermissionError):
            return self.running
        return self.running or over < 1  # what is left then are zombies, which nobody waits for

    def heed_client(self) -> None:
        """Passes on signals from the client, or ends the command if the client has ended."""
        try:
            told = self.client.recv(64)
        except OSError:
            told = b""
        for number in told:
            self.send(number)
        if not told:
            self.hang_up()
            self.end(0 if self.asked else PATIENCE)

    def hang_up(self) -> None:
        """Closes the connection to the client."""
        self.client.close()
        self.client = None


class Server:
    """The loop: one process, one thread."""

    def __init__(self, listening: socket.socket, libraries: Sequence[str]) -> None:
        self.listening, self.libraries = listening, list(libraries)
        self.clients: list[socket.socket] = []  # connected, and about to ask
        self.commands: list[Command] = []
        self.ending = False
        self.woken, self.wakes = socket.socketpair()

    def serve(self) -> dict | None:
        """Returns what a client asks for, in a fork; `None` when the starter has died and all commands have ended.

        Imports the libraries one by one while nobody asks; commands wait for the first one.
        """
        if self.libraries:
            import_library(self.libraries.pop(0))  # the longest; until it is there, SIGTERM ends this process at once
        self._heed_signals()
        while self.commands or not self.ending:
            for ready in self._wait():
                if ready is sys.stdin:
                    self.end_all()
                elif ready is self.woken:
                    self.woken.recv(4096)
                elif ready is self.listening:
                    self.clients.append(self.listening.accept()[0])
                elif ready in self.clients:
                    self.clients.remove(ready)
                    if request := self._fork(ready):
                        return request
                else:
                    for command in self.commands:
                        if command.client is ready:
                            command.heed_client()
            self.commands = [command for command in self.commands if command.look()]
        return None

    def _heed_signals(self) -> None:
        for end in (self.woken, self.wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self.wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
        for number in ENDING:
            signal.signal(number, lambda *_: self.end_all())

    def _wait(self) -> list:
        """Waits until something can be read, and returns it; while libraries are left, imports one instead."""
        watched = [self.woken, *(command.client for command in self.commands if command.client)]
        if not self.ending:
            watched += [self.listening, sys.stdin, *self.clients]
        timeout = 0 if self.libraries else MOMENT if any(command.last for command in self.commands) else None
        ready, _, _ = select.select(watched, [], [], timeout)
        if self.libraries and not ready:
            import_library(self.libraries.pop(0))
        return ready

    def end_all(self) -> None:
        """Ends all commands, and then the loop."""
        self.ending, self.libraries = True, []
        for command in self.commands:
            command.end()

    def _fork(self, client: socket.socket) -> dict | None:
        """Forks for a client, and returns what it asks for in the fork; `None` in this process."""
        try:
            _, files, *_ = socket.recv_fds(client, 1, 4)
        except OSError:
            files = []
        if len(files) < 4:  # the client has ended
            client.close()
            return None
        gc.freeze()  # a fork that collects garbage would copy all the memory that it shares
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        process = os.fork()
        with contextlib.suppress(OSError):
            os.setpgid(process, process)  # by both, as either may be first
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
            for file in files:
                os.close(file)
            with contextlib.suppress(OSError):  # the client has ended
                client.sendall(process.to_bytes(4))
            self.commands.append(Command(process, client))
            return None
        for connection in [client, self.listening, self.woken, self.wakes, *self.clients]:
            connection.close()
        for command in self.commands:
            if command.client:
                command.client.close()
        return become(files)


def become(files: Sequence[int]) -> dict:
    """Takes a client's streams, folder, environment and signals; returns what the client asks for."""
    *streams, request = files
    with open(request, "rb") as file:  # noqa: PTH123
        file.seek(0)
        asked = json.load(file)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # opened anew, as they were those of /dev/null
        text = {"encoding": getattr(sys, name).encoding, "errors": getattr(sys, name).errors, "closefd": False}
        setattr(sys, name, open(number, "w" if number else "r", **text))  # noqa: PTH123, SIM115
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    sys.stderr.reconfigure(line_buffering=True)
    os.umask(asked["umask"])
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        with contextlib.suppress(OSError):  # one that the C library keeps to itself
            signal.signal(number, signal.SIG_IGN if number in asked["ignored"] else usual)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    atexit.unregister(shutil.rmtree)  # matplotlib's, of a folder that the server and other forks go on using
    return asked


def import_library(name: str) -> None:
    """Imports a library, Keras as the stages do; the command that needs it tells why it cannot be imported."""
    with contextlib.suppress(Exception):
        if name == "keras":
            importlib.import_module("stages.models.models").import_keras()
        else:
            importlib.import_module(name)


def prepare(command: Sequence[str], folder: str) -> str:
    """Sets arguments and module path as for `python -m`; forgets the project's modules; returns the module's name."""
    sys.argv = list(command)
    if not sys.flags.safe_path:
        sys.path[0] = folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "tools")]:
        del sys.modules[name]
    return command[0]


if __name__ == "__main__":
    starter = os.getppid()
    asked = Server(socket.socket(fileno=int(sys.argv[1])), sys.argv[3:]).serve()
    if asked:  # this is a fork
        runpy.run_module(prepare(asked["command"], asked["folder"]), run_name="__main__", alter_sys=True)
    else:
        if os.getppid() != starter:  # the starter was killed, so it has not removed its folder
            shutil.rmtree(sys.argv[2], ignore_errors=True)
        os._exit(0)  # there is nothing to clean up, and Python would take a second over TensorFlow
