"""Trains side by side: a process for each training, forked from one that has imported Keras.

An import of TensorFlow takes seconds, a fork none. Processes of several stages share the cores of this machine by locks
on files, the slots, if `make repro` runs them (`REPRO_FOLDER`).
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from stages.support.errors import PipelineError, anticipated
from stages.support.processes import REPRO_FOLDER, end_with_parent
from stages.support.resources import short_of_memory

FORK = "fork" if sys.platform == "linux" else "spawn"  # macOS has libraries that a fork breaks
MOMENT = 0.1  # seconds between two looks for a free slot

EndEpoch = Callable[[int, dict[str, float]], None]  # is called with the epoch from 1, and what Keras logs of it
Train = Callable[[Any, EndEpoch], None]  # trains with a seed, and calls back after each epoch
EpochOfSeed = Callable[[Any, int, dict[str, float]], bool | None]  # gets the seed, the epoch from 1, and the logs
End = Callable[[Any, PipelineError | None], None]  # gets the seed, and why it could not be trained


def raise_error(_: Any, error: PipelineError | None) -> None:
    """Raises the error of a training, if it has one."""
    if error:
        raise error


class Slots:
    """Slots of a machine: as many trainings and other stages run at once as there are.

    Each is a file. The process that locks it has the slot until it unlocks the file or ends.
    """

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("slot-*"))

    @classmethod
    def make(cls, folder: Path, count: int) -> "Slots":
        """Makes slots in a folder, in place of any there."""
        for file in folder.glob("slot-*"):
            file.unlink()
        for number in range(count):
            (folder / f"slot-{number:04}").touch()
        return cls(folder)

    def take(self) -> int | None:
        """Takes a free slot: an open file to close when the slot is no longer needed; `None` if there is none."""
        import fcntl

        for file in self.files:
            descriptor = os.open(file, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None


@contextlib.contextmanager
def slots(count: int) -> Iterator[Slots]:
    """Yields the slots that `make repro` shares out, or `count` of this process alone."""
    if folder := os.environ.get(REPRO_FOLDER):
        yield Slots(Path(folder))
    else:
        with tempfile.TemporaryDirectory() as own:
            yield Slots.make(Path(own), count)


@dataclass
class _Worker:
    """A process that trains with a seed.

    Attributes:
        seed: that it trains with.
        process: the process.
        messages: what it sends: (epoch, logs) after each epoch; at last "done", or a `PipelineError`.
        slot: that it has.
    """

    seed: Any
    process: BaseProcess
    messages: Connection
    slot: int
    done: bool = False

    def end(self) -> None:
        """Ends the process if it still runs, and lets go of its slot, which those forked since have open, too."""
        import fcntl

        self.process.kill()
        self.process.join()
        self.messages.close()
        fcntl.flock(self.slot, fcntl.LOCK_UN)
        os.close(self.slot)


def train_side_by_side(
    seeds: Iterable[Any], train: Train, end_epoch: EpochOfSeed, count: int, method: str = FORK, end: End = raise_error
) -> None:
    """Trains with each seed in a process of its own, as many at once as there are slots.

    Call it before any thread, or operation of TensorFlow, is started. The processes end with this one. Raises
    `PipelineError` if `end` does, or if a training was killed; the others are ended then.

    Args:
        seeds: to train with, or other values that `train` takes, in this order; each is drawn when a slot is free.
        train: runs in the processes.
        end_epoch: runs here, after each epoch. If it returns true, the training is ended.
        count: of trainings at once; `make repro` decides if it runs this.
        method: how `multiprocessing` starts a process: by a fork, or where a GPU may be in use, by "spawn".
        end: runs here, after each training that is finished or has raised a `PipelineError`.
    """
    waiting, running, all_drawn = iter(seeds), list[_Worker](), False
    with slots(count) as available:
        count = min(count, len(available.files))
        try:
            while True:
                while not all_drawn and len(running) < count and (slot := available.take()) is not None:
                    if all_drawn := (seed := next(waiting, None)) is None:
                        os.close(slot)
                    else:
                        running.append(_start(seed, train, slot, method))
                if all_drawn and not running:
                    return
                ready = wait([worker.messages for worker in running], timeout=None if all_drawn else MOMENT)
                for worker in [worker for worker in running if worker.messages in ready]:
                    if not _receive(worker, end_epoch, end, count):
                        running.remove(worker)
                        worker.end()
        finally:
            for worker in running:
                worker.end()


def _receive(worker: _Worker, end_epoch: EpochOfSeed, end: End, count: int) -> bool:
    """Reads a message. Returns whether the worker goes on. Raises `PipelineError` if it was killed."""
    try:
        message = worker.messages.recv()
    except EOFError:
        worker.process.join()
        if worker.done:
            end(worker.seed, None)
            return False
        raise PipelineError(f"seed {worker.seed}: {_how_it_ended(worker.process.exitcode or 0, count)}") from None
    if isinstance(message, PipelineError):
        end(worker.seed, message)
        return False
    if message == "done":
        worker.done = True
        return True
    return not end_epoch(worker.seed, *message)


def _how_it_ended(status: int, count: int) -> str:
    if status == -signal.SIGKILL:
        return f"the training was killed; {short_of_memory(count)}"
    if status < 0:
        return f"the training was ended by {signal.Signals(-status).name}; rerun to continue"
    return "the training failed, see above"


def _start(seed: Any, train: Train, slot: int, method: str) -> _Worker:
    context: Any = multiprocessing.get_context(method)
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(seed, train, sending, os.getpid()))
    sys.stdout.flush()
    process.start()
    sending.close()
    return _Worker(seed, process, receiving, slot)


def _work(seed: Any, train: Train, messages: Connection, parent: int) -> None:
    """What a worker runs."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # which has just ended
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent heeds Ctrl-C, and ends this process
    try:
        train(seed, lambda epoch, logs: messages.send((epoch, logs)))
        messages.send("done")
    except BrokenPipeError:  # the parent has ended
        sys.exit(1)
    except Exception as error:
        if not (line := anticipated(error)):
            raise
        messages.send(PipelineError(line))
