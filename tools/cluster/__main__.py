"""Stands where a warm server would (tools/repro/warm.py), and has a Ray cluster run what clients ask for: trainings.

    python -m tools.cluster SOCKET

Prints how many CPUs the cluster has for trainings as soon as it can be asked. Ends with the command that started it.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TextIO

from stages.support.errors import PipelineError, command
from stages.train import SHOW_PROGRESS
from tools.common.cluster import Cluster, RemoteTraining
from tools.common.cores import RAY_ADDRESS

FAILED = 1


@command
def main() -> None:
    """Connects to the cluster, and trains for clients."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("socket", type=int, help="the number of an open, listening socket")
    listening = socket.socket(fileno=parser.parse_args().socket)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes from the clients
    cluster = Cluster(os.environ[RAY_ADDRESS])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # Ray's own handler prints where it was
    print(cluster.cpus(), flush=True)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    while True:
        client, _ = listening.accept()
        threading.Thread(target=_serve, args=[cluster, client], daemon=True).start()


def _end_with_starter() -> None:
    """Ends this process when its stdin is closed; Ray ends the trainings of a process that has ended."""
    sys.stdin.read()
    os._exit(0)


def _serve(cluster: Cluster, client: socket.socket) -> None:
    """Trains as a client (tools/repro/client.py) asks, and tells it the exit status."""
    with client, contextlib.suppress(OSError):  # the client has ended
        _, files, *_ = socket.recv_fds(client, 1, 4)
        stdin, stdout, stderr, request = files
        os.close(stdin)
        client.sendall((0).to_bytes(4))  # no process group
        with open(request, encoding="utf-8") as file, open(stdout, "w") as out, open(stderr, "w") as errors:  # noqa: PTH123
            file.seek(0)
            asked = json.load(file)
            try:
                training = cluster.train(asked["command"][1:], Path(asked["folder"]))
                threading.Thread(target=_heed, args=[client, training], daemon=True).start()
                status = _tell(training, SHOW_PROGRESS in asked["environment"], out, errors)
            except PipelineError as error:
                print(f"error: {error}", file=errors)
                status = FAILED
        client.sendall(status.to_bytes(4, signed=True))


def _tell(training: RemoteTraining, progress: bool, out: TextIO, errors: TextIO) -> int:
    """Prints what the stage prints, and returns its exit status."""

    def tell(line: str) -> None:
        if progress or "  epoch " not in line:
            errors.write(line)
            errors.flush()

    status, printed = training.run(tell)
    out.write(printed)
    return status


def _heed(client: socket.socket, training: RemoteTraining) -> None:
    """Cancels the training when the client passes on a signal, or ends."""
    with contextlib.suppress(OSError):
        client.recv(64)
    training.cancel()


if __name__ == "__main__":
    main()
