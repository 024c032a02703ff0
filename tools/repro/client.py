"""Stands in for `python` and `dvc` (tools/repro/bin): a warm server runs the command, and this process ends as it does.

It passes signals on to the command. Where no server answers, and for any other command, it becomes the real one. It
starts with each command, so it imports little: not pathlib.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

# Environment variables that warm.py sets
SERVERS = "REPRO_SERVERS"  # the folder with the servers' sockets
STARTED_WITH = "REPRO_STARTED_WITH"  # Python's own variables, as the servers read them when they started

PATIENCE = 10  # seconds that a process group has to end, once it is asked to
MOMENT = 0.05  # seconds between two looks at a group that is to end

TRAINS = "stages.train"
CLUSTER = "cluster"  # the server that has a Ray cluster train (tools/cluster)
NEED_KERAS = (TRAINS, "stages.evaluate", "tools.digits")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
PASSED_ON += (signal.SIGTSTP, signal.SIGCONT)
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def main(*line: str) -> None:
    """Runs a command line, which begins with `python` or `dvc`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until they can be passed on
    command = _module(line)
    server = _ask(command) if command else None
    if server:
        for number in PASSED_ON:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: _pass_on(server, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    if server:
        _end_as_told(server, command)
    real = [sys.executable, *(line[1:] if line[0] == "python" else ("-m", *line))]
    os.execv(real[0], real)  # noqa: S606


def _module(line: Sequence[str]) -> Sequence[str]:
    """The module that a server can run for a command line, with its arguments; nothing for another command."""
    match line:
        case ["dvc", *_]:
            return line
        case ["python", "-m", module, *arguments] if module.startswith(("stages.", "tools.")):
            return [module, *arguments]
    return []


def _ask(command: Sequence[str]) -> socket.socket | None:
    """Asks a server to run a command; returns the connection, or `None` if there is none to run it as it would be."""
    server = socket.socket(socket.AF_UNIX)
    try:
        if python_variables(os.environ) == os.environ[STARTED_WITH]:
            _connect(server, command[0])
            request = os.memfd_create("request")  # of any size, while a message is short enough to arrive as a whole
            with open(request, "w+b") as file:  # noqa: PTH123
                file.write(json.dumps(_surroundings(command)).encode())
                file.flush()
                socket.send_fds(server, [b"."], [0, 1, 2, request])
            return server
    except (KeyError, OSError):
        pass
    server.close()
    return None


def python_variables(environment: Mapping[str, str]) -> str:
    """Python's own variables, which it reads when it starts, such as PYTHONHASHSEED."""
    return json.dumps(sorted(item for item in environment.items() if item[0].startswith("PYTHON")))


def _connect(server: socket.socket, module: str) -> None:
    name = "keras" if module in NEED_KERAS else "dvc" if module in ("dvc", "tools.repro.dvc_internals") else "tables"
    here = os.open(".", os.O_RDONLY)
    os.chdir(os.environ[SERVERS])  # as a socket's path may have no more than a hundred characters
    try:
        server.connect(CLUSTER if module == TRAINS and os.path.exists(CLUSTER) else name)  # noqa: PTH110
    finally:
        os.fchdir(here)
        os.close(here)


def _surroundings(command: Sequence[str]) -> dict[str, object]:
    """What a command has from the process that starts it, but for its three streams."""
    umask = os.umask(0)
    os.umask(umask)
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN}
    return {
        "command": command,
        "folder": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "umask": umask,
        "ignored": sorted(ignored - IGNORED_BY_PYTHON),
    }


def _pass_on(server: socket.socket, number: int) -> None:
    stop = number == signal.SIGTSTP
    with contextlib.suppress(OSError):  # the command has just ended
        server.send(bytes([signal.SIGSTOP if stop else number]))
    if stop:
        os.kill(os.getpid(), signal.SIGSTOP)


def _end_as_told(server: socket.socket, command: Sequence[str]) -> None:
    """Waits for the command's end, and ends with its exit status, or by the signal that ended it."""
    group = _receive(server)
    status = _receive(server)
    if status is None:
        if group:
            _end_group(group)
        sys.exit(f"error: {' '.join(command)}: the warm server that ran it has died")
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _receive(server: socket.socket) -> int | None:
    """A number from the server; `None` if it has died."""
    told = b""
    with contextlib.suppress(OSError):
        told = server.recv(4)
    return int.from_bytes(told, signed=True) if told else None


def _end_group(group: int) -> None:
    """Ends a command whose server, which would, has died: first asks it, then kills it."""
    with contextlib.suppress(ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(group, number)
            last = time.monotonic() + PATIENCE
            while time.monotonic() < last:
                os.killpg(group, 0)
                time.sleep(MOMENT)


if __name__ == "__main__":
    main(*sys.argv[1:])
