"""Runs the project with a given folder, home, environment, umask and number of processor cores."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stages.common.kernels import FIXED
from stages.data.places import OWN
from stages.fetch import keras_cache
from stages.support.dvc_cache import TRAIN_ANEW
from stages.support.errors import PipelineError
from tools.common.lock import LOCK, digests, read_lock
from tools.common.results import OVER_ALL

# Variables that would make git, DVC, Keras or matplotlib ignore the run's home, or Python its folder
STEERING = ("DVC_", "GIT_", "KERAS_", "MATPLOTLIB", "MPL", "PYTHONSAFEPATH", "XDG_")
OWN_CACHE = "[cache]\n    dir = cache\n"  # relative to .dvc

# Another user's settings, which would change pictures, models and line endings if the project used them
OTHER_SETTINGS = {
    ".config/matplotlib/matplotlibrc": "font.size: 17\naxes.grid: True\nsavefig.bbox: tight\nlines.linewidth: 5\n",
    ".keras/keras.json": '{"backend": "jax", "floatx": "float64", "epsilon": 0.1, '
    '"image_data_format": "channels_first"}\n',
    ".gitconfig": "[core]\n\tautocrlf = true\n",
}
OTHER_VARIABLES = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",  # with the two above, an ASCII terminal
    "PYTHONHASHSEED": "4242",
    "COLUMNS": "45",
    "TZ": "Pacific/Chatham",
}
OTHER_UMASK = 0o077

QEMU = "qemu-x86_64"
EMULATED_PYTHON = """\
#!/bin/bash
exec {qemu} -cpu {processor} {python} "$@" 2> >(grep -v "^{qemu}: warning: TCG doesn't support" >&2)
"""


@dataclass(frozen=True)
class Run:
    """A run: its name, project folder, and the environment of its commands."""

    name: str
    project: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    umask: int = -1  # unchanged
    one_core: bool = False
    commands: tuple[Path, ...] = ()  # folders searched first for commands

    def prepare(self, settings: dict[str, str]) -> None:
        """Creates an empty project folder with its own cache, and a home with these files.

        Links the user's Keras data sets into the home, so that nothing is downloaded again.
        """
        files = {self.project / ".dvc/config.local": OWN_CACHE}
        files |= {self.home / name: text for name, text in settings.items()}
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        self.datasets.parent.mkdir(parents=True, exist_ok=True)
        self.datasets.symlink_to(keras_cache().absolute())

    @property
    def datasets(self) -> Path:
        return self.home / ".keras/datasets"

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(STEERING) and name not in FIXED
        }
        path = [*self.commands, Path(sys.executable).parent, kept.get("PATH", os.defpath)]
        return kept | {
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "DVC_SITE_CACHE_DIR": str(self.home / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            TRAIN_ANEW: "1",
            **self.variables,
        }

    def execute(self, command: Sequence[str]) -> str:
        """Runs a command and returns its output. On a terminal, shows which stage is running.

        If the command fails, prints its output and raises `PipelineError`.
        """
        with tempfile.TemporaryDirectory() as folder, _cores(self.one_core):
            log = Path(folder) / "log"
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    command,
                    cwd=self.project,
                    env=self.environment,
                    umask=self.umask,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                )
            try:
                self._wait(process, log)
            finally:
                process.wait()
            printed = log.read_text(encoding="utf-8", errors="replace")
        if process.returncode:
            places = {self.datasets: str(keras_cache()), self.project: self.name}  # as both folders may be temporary
            for path, name in places.items():
                printed = printed.replace(str(path), name)
            print(printed, file=sys.stderr)
            failed = f"{' '.join(command)}: failed with exit status {process.returncode}"
            raise PipelineError(f"{self.name}: {failed}; see above")
        return printed

    def _wait(self, process: subprocess.Popen, log: Path) -> None:
        terminal = sys.stderr.isatty()
        while process.poll() is None:
            if terminal:
                stages = re.findall(r"Running stage '(.+)'", log.read_text(errors="replace"))
                print(f"\r\033[K{self.name}: {''.join(stages[-1:])}", end="", file=sys.stderr, flush=True)
            time.sleep(0.02)
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _cores(one: bool) -> Iterator[None]:
    """Limits processes that this thread starts in the block to one processor core, if the system supports it."""
    if not one or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def plain_user(name: str, folder: Path) -> Run:
    """A run in the caller's environment, with an empty home."""
    run = Run(name, folder / "project", folder / "home")
    run.prepare({})
    return run


def another_user(name: str, folder: Path) -> Run:
    """A run with another home, settings, locale, time zone, hash seed and umask, on one core."""
    home = folder / "home of another user"
    variables = OTHER_VARIABLES | {"XDG_CONFIG_HOME": str(home / ".config"), "XDG_CACHE_HOME": str(home / "caches")}
    run = Run(name, folder / "a clone", home, variables, OTHER_UMASK, one_core=True)
    run.prepare(OTHER_SETTINGS)
    return run


def another_processor(name: str, folder: Path, processor: str) -> Run:
    """A run whose `python` runs on an emulated x86-64 processor, one of `qemu-x86_64 -cpu help`."""
    python = folder / "commands/python"
    python.parent.mkdir(parents=True)
    python.write_text(EMULATED_PYTHON.format(qemu=QEMU, processor=processor, python=shlex.quote(sys.executable)))
    python.chmod(0o755)
    return replace(plain_user(name, folder), commands=(python.parent,))


def copy_own_data(to: Path) -> None:
    """Copies one's own data sets, which git ignores, into a copy of the project."""
    for path in OWN.rglob("*.npz"):
        copy = to / path
        if path.is_file() and not copy.exists() and copy.parent.resolve() == to.resolve() / path.parent:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def copy_project(to: Path) -> None:
    """Copies the files that git tracks or would track and one's own data, with local edits, but without the results."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        raise PipelineError(f"{Path.cwd()}: expected a git repository: {os.fsdecode(listed.stderr).strip()}")
    results = [
        *map(str, (LOCK, *OVER_ALL)),
        *(path for stage in read_lock().values() for path in digests(stage, "outs")),
    ]
    for name in os.fsdecode(listed.stdout).split("\0"):
        if Path(name).is_file() and not any(Path(name).is_relative_to(result) for result in results):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, to / name)
    copy_own_data(to)
