"""Which stages there are, which of them are to run, and their order: as many at once as can go side by side."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import dvc.cli
import dvc.dvcfile
import dvc.lock
import psutil
from dvc.dvcfile import PROJECT_FILE
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage import PipelineStage
from dvc.utils.collections import ensure_list

from stages.common.errors import PipelineError, one_line
from tools.common.lock import LOCK
from tools.repro.ending import PATIENCE, end_descendants, hold, when_told
from tools.repro.recording import modify_lock

MEMORY = 1.5e9  # bytes that a stage may need; the largest, train@cnn, takes 1.2e9 with MNIST
FORK = multiprocessing.get_context("fork")  # DVC is imported once
FOLDERS = "see that HOME, XDG_CONFIG_HOME and DVC_SITE_CACHE_DIR are folders, where they are set"


@dataclass(frozen=True)
class Plan:
    """The stages in the order of `dvc repro`.

    Attributes:
        upstream: the stages that each waits for.
        outdated: those that may have to run.
        written: bytes that each wrote when it last ran, as dvc.lock has it: a stage with much to write takes long.
        commands: what each runs; "" for a file that `dvc add` tracks, which runs nothing.
        recorded: by dvc.lock, of which a project has one beside each dvc.yaml, the names of its entries in order.
    """

    upstream: dict[str, set[str]]
    outdated: set[str]
    written: dict[str, int]
    commands: dict[str, str] = field(default_factory=dict)
    recorded: dict[Path, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, targets: Sequence[str]) -> "Plan":
        """Works out DVC's own graph, for targets and what they need, and asks DVC what has changed.

        Without targets, as `dvc repro`: for the stages of this folder's dvc.yaml, and what they need elsewhere.
        A stage may have to run if it has changed, or if one that it waits for may have to.
        """
        try:
            with Repo() as repo:
                graph = get_active_graph(repo.index.graph)
                chosen = [stage for target in targets or [PROJECT_FILE] for stage in repo.stage.collect(target)]
                order = plan_repro(graph, chosen)
                upstream = {stage.addressing: {dep.addressing for dep in graph.successors(stage)} for stage in order}
                written = {stage.addressing: sum(out.meta.size or 0 for out in stage.outs) for stage in order}
                outdated: set[str] = set()
                with repo.lock:
                    for stage in order:
                        if upstream[stage.addressing] & outdated or stage.changed():
                            outdated.add(stage.addressing)
        except OSError as error:  # such as a home that is no folder
            raise PipelineError(f"{error.filename}: DVC cannot read it: {error.strerror}; {FOLDERS}") from error
        except DvcException as error:
            cause = f": {one_line(error.__cause__)}" if error.__cause__ else "; dvc status tells more"
            raise PipelineError(f"{error}{cause}") from error
        commands = {stage.addressing: " ".join(ensure_list(stage.cmd)) for stage in order}
        recorded: dict[Path, list[str]] = {}
        for stage in order:
            if isinstance(stage, PipelineStage):
                recorded.setdefault(Path(stage.path).with_suffix(LOCK.suffix), []).append(stage.name)
        return cls(upstream, outdated, written, commands, recorded)

    def needs(self, modules: Iterable[str]) -> bool:
        """Whether one of these modules is in the command of a stage that may have to run."""
        return any(module in self.commands[name] for module in modules for name in self.outdated)

    def dependents(self, name: str) -> set[str]:
        """The stages that wait for this one, directly or not."""
        found: set[str] = set()
        for stage, waits_for in self.upstream.items():  # upstream first
            if waits_for & (found | {name}):
                found.add(stage)
        return found


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once() -> int:
    """How many stages to run at once: as many as there are cores, and as memory allows."""
    return max(1, min(cores(), int(psutil.virtual_memory().available / MEMORY)))


class Schedule:
    """Runs the outdated stages of a plan, each as `dvc repro --single-item` in a process of its own."""

    def __init__(self, plan: Plan, jobs: int, logs: Path) -> None:
        self.plan, self.jobs, self.logs = plan, jobs, logs
        self.waiting = [name for name in plan.upstream if name in plan.outdated]
        self.running: dict[str, BaseProcess] = {}
        self.failed: list[str] = []
        self.not_run: list[str] = []

    def run(self, each_moment: Callable[[], None]) -> Iterator[str]:
        """Yields what each stage printed as it ends; calls `each_moment` several times a second.

        What depends on a stage that failed is not run; the rest goes on. If it is left early, so on Ctrl-C, stages that
        do not end by themselves are ended.
        """
        try:
            while self.waiting or self.running:
                self._start()
                wait([process.sentinel for process in self.running.values()], timeout=0.2)
                each_moment()
                for name in [name for name, process in self.running.items() if not process.is_alive()]:
                    yield self._end(name)
        finally:
            self._stop()

    def _start(self) -> None:
        """Starts stages that wait for none: first those on which most others wait, of these first the heaviest."""
        unfinished = {*self.waiting, *self.running}
        ready = [name for name in self.waiting if not self.plan.upstream[name] & unfinished]
        ready.sort(key=lambda name: (len(self.plan.dependents(name)), self.plan.written[name]), reverse=True)
        for name in ready[: self.jobs - len(self.running)]:
            self.waiting.remove(name)
            self.running[name] = FORK.Process(target=_reproduce, args=(name, self.log(name)))
            self.running[name].start()

    def _end(self, name: str) -> str:
        process = self.running.pop(name)
        if process.exitcode:
            self.failed.append(name)
            skipped = self.plan.dependents(name)
            self.not_run += [stage for stage in self.waiting if stage in skipped]
            self.waiting = [stage for stage in self.waiting if stage not in skipped]
        printed = self.log(name).read_text(encoding="utf-8", errors="replace")
        printed = printed.partition("\nTo track the changes with git")[0].strip()
        killed = f"\n{name}: ended by {signal.Signals(-process.exitcode).name}" if process.exitcode < 0 else ""
        return f"{printed}{killed}"

    def _stop(self) -> None:
        """Waits for what runs, which Ctrl-C has reached as well; a second Ctrl-C ends it, a third kills it."""
        for end in (None, FORK.Process.terminate, FORK.Process.kill):
            last = time.monotonic() + PATIENCE
            with contextlib.suppress(KeyboardInterrupt):
                for process in self.running.values():
                    if end:
                        end(process)
                for process in self.running.values():
                    process.join(max(0, last - time.monotonic()))

    def log(self, name: str) -> Path:
        """The file into which a stage prints."""
        return self.logs / str(list(self.plan.upstream).index(name))  # a name may hold a path


def _reproduce(name: str, log: Path) -> None:
    """Becomes `dvc repro --single-item`, made quicker: at waiting for DVC's lock, and at writing dvc.lock.

    Whether it is told to end or the process that started it has died: it ends its stage, and then itself.
    """
    when_told(lambda _: threading.Thread(target=end_descendants, daemon=True).start())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    dvc.lock.DEFAULT_TIMEOUT /= 25  # of which DVC waits a sixth before it tries again: 20 ms, not 500
    dvc.dvcfile.modify_yaml = modify_lock
    with log.open("w") as stream, Path(os.devnull).open() as nothing:
        for file, number in ((nothing, 0), (stream, 1), (stream, 2)):
            os.dup2(file.fileno(), number)
    hold(log)
    sys.exit(dvc.cli.main(["--wait-for-lock", "repro", "--single-item", name]))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    end_descendants()
