"""Runs the outdated stages of a plan, as many at once as can go side by side."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stages.support.processes import REPRO_FOLDER, end_with_parent
from stages.support.workers import Slots
from tools.repro.plan import Plan

DVC = [sys.executable, "-m", "dvc"]
MOMENT = 0.02  # seconds between two looks at what runs
PATIENCE = 10  # seconds that stages have to end before the next signal
KILLING = [signal.SIGTERM, signal.SIGKILL]


@dataclass
class StartedStage:
    """A stage that was started: DVC's process, and the files that it and the stage print into."""

    name: str
    process: subprocess.Popen
    stdout: Path
    stderr: Path
    slot: int | None  # that it has until it ends; those that train take slots for each training
    started: float = field(default_factory=time.monotonic)

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def elapsed(self) -> float:
        """Returns the seconds since its start."""
        return time.monotonic() - self.started


class Schedule:
    """Runs the outdated stages of a plan, each by `dvc repro --single-item`.

    Args:
        plan: the stages.
        jobs: returns how many trainings and other stages may run at once on this machine; called whenever none runs,
            as the data may have changed.
        folder: an empty folder for slots, progress, what the stages print, and their temporary files.
        on_cluster: how many trainings may run at once on a cluster; 0 if there is none.
    """

    def __init__(self, plan: Plan, jobs: Callable[[], int], folder: Path, on_cluster: int = 0) -> None:
        self.plan, self.jobs, self.folder, self.on_cluster = plan, jobs, folder, on_cluster
        self.slots = Slots.make(folder, jobs())
        temporary = folder / "tmp"  # is removed with the folder, whatever killed processes leave in it
        temporary.mkdir()
        self.environment = {
            **os.environ,
            REPRO_FOLDER: str(folder),
            "TMPDIR": str(temporary),
            # DVC runs commands by this shell. Others may stay between DVC and a stage, which then sees no end of DVC
            "SHELL": shutil.which("bash") or os.environ.get("SHELL", "/bin/sh"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }
        waiting = [name for name in plan.upstream if name in plan.outdated]
        # First those on which most others wait, of these first the heaviest; worked out once, as there may be hundreds
        rank = {name: (len(plan.dependents(name)), plan.written[name]) for name in waiting}
        self.waiting = sorted(waiting, key=rank.__getitem__, reverse=True)
        self.running: list[StartedStage] = []
        self.failed: list[str] = []
        self.not_run: list[str] = []

    def __enter__(self) -> "Schedule":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Ends what still runs; after Ctrl-C, as a terminal would, by Ctrl-C first.

        Sends the next signal when patience with the one before is over, or Ctrl-C comes again.
        """
        for number in [signal.SIGINT, *KILLING] if error is KeyboardInterrupt else KILLING:
            with contextlib.suppress(KeyboardInterrupt):
                last = time.monotonic() + PATIENCE
                for stage in self.running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(stage.process.pid, number)
                while time.monotonic() < last and not all(stage.has_ended() for stage in self.running):
                    time.sleep(MOMENT)
            self.running = [stage for stage in self.running if not stage.has_ended()]

    def goes_on(self) -> bool:
        """Whether any stage runs or is still to be run."""
        return bool(self.waiting or self.running)

    def step(self) -> list[StartedStage]:
        """Starts what can be started, waits a moment, and returns the stages that have ended.

        What depends on a stage that failed is not run; the rest goes on.
        """
        self._start()
        time.sleep(MOMENT)
        ended = [stage for stage in self.running if stage.has_ended()]
        for stage in ended:
            self._end(stage)
        return ended

    def _start(self) -> None:
        """Starts stages that wait for none."""
        if not self.running:
            self.slots = Slots.make(self.folder, self.jobs())
        unfinished = {*self.waiting, *(stage.name for stage in self.running)}
        for name in [name for name in self.waiting if not self.plan.upstream[name] & unfinished]:
            slot = None
            if self.plan.trains(name):
                training = sum(self.plan.trains(stage.name) for stage in self.running)
                if training >= (self.on_cluster or len(self.slots.files)):  # their trainings wait for slots
                    continue
            elif (slot := self.slots.take()) is None:
                continue
            self.waiting.remove(name)
            self.running.append(self._run(name, slot))

    def _run(self, name: str, slot: int | None) -> StartedStage:
        log = self.folder / str(list(self.plan.upstream).index(name))  # a name may hold a path
        stdout, stderr = log.with_suffix(".out"), log.with_suffix(".err")
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                [*DVC, "--wait-for-lock", "repro", "--single-item", name],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,  # to be sent signals with all that it starts
                preexec_fn=end_with_parent,
            )
        return StartedStage(name, process, stdout, stderr, slot)

    def _end(self, stage: StartedStage) -> None:
        self.running.remove(stage)
        if stage.slot is not None:
            os.close(stage.slot)
        if stage.process.returncode:
            self.failed.append(stage.name)
            skipped = self.plan.dependents(stage.name)
            self.not_run += [name for name in self.waiting if name in skipped]
            self.waiting = [name for name in self.waiting if name not in skipped]
