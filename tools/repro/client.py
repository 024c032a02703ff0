"""The `python` and `dvc` of warm.py: a warm process runs the command in their place, and they do as it does.

What signals tell the client it passes on, and the command ends with it. Where there is no warm process, and for any
other command, it becomes the real one. It starts with each command, so it imports little: not pathlib.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence

NEED_KERAS = ("stages.train", "stages.evaluate")
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
UNKNOWN = b"\xff"  # the exit status of a command that was killed


def main(folder: str, real: str, *line: str) -> None:
    """Runs a command line; `folder` has the sockets of the warm processes, `real` the real commands."""
    with socket.socket(socket.AF_UNIX) as server:
        command = _module(line)
        if command and _connect(server, folder, command[0]):
            sys.exit(_ask(server, command))
    path = f"{real}/{line[0]}"
    os.execv(path, [path, *line[1:]])  # noqa: S606


def _module(line: Sequence[str]) -> Sequence[str]:
    """The module and arguments that a warm process is to run for a command line; none for another command."""
    match line:
        case ["dvc", *_]:
            return line
        case ["python", "-m", module, *arguments] if module.startswith(("stages.", "tools.")):
            return [module, *arguments]
    return []


def _connect(server: socket.socket, folder: str, module: str) -> bool:
    here = os.getcwd()  # noqa: PTH109
    os.chdir(folder)  # as a socket's path may have no more than a hundred characters
    failed = server.connect_ex("keras" if module in NEED_KERAS else "others")
    os.chdir(here)
    return not failed


def _ask(server: socket.socket, command: Sequence[str]) -> int:
    """Has the command run; returns its exit status, or ends by the signal that ended it."""
    told = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        with contextlib.suppress(OSError):  # has just ended
            server.send(bytes([number]))

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until they can be passed on
    message = json.dumps([os.getcwd(), dict(os.environ), command]).encode()  # noqa: PTH109
    socket.send_fds(server, [len(message).to_bytes(8)], [0, 1, 2])
    server.sendall(message)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, tell)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    status = b""
    with contextlib.suppress(OSError):
        status = server.recv(1)
    if told and not status:
        signal.signal(told[-1], signal.SIG_DFL)
        os.kill(os.getpid(), told[-1])
    return int.from_bytes(status or UNKNOWN)


if __name__ == "__main__":
    main(*sys.argv[1:])
