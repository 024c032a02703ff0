"""Runs the project in a folder of its own: in the caller's environment, as another user, or on another processor."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.common.kernels import FIXED
from stages.data.places import OWN
from stages.fetch import keras_cache
from stages.support.dvc_cache import TRAIN_ANEW
from stages.support.errors import PipelineError
from tools.common.git import git
from tools.common.lock import LOCK, digests, read_lock
from tools.common.results import OVER_ALL

# Variables that would make git, DVC, Keras or matplotlib ignore the run's home, or Python its folder
STEERING = ("DVC_", "GIT_", "KERAS_", "MATPLOTLIB", "MPL", "PYTHONSAFEPATH", "XDG_")
OWN_FOLDERS = "[cache]\n    dir = cache\n[core]\n    site_cache_dir = {}\n"  # the first relative to .dvc

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


@dataclass(frozen=True)
class Run:
    """A run: its name, project folder, and the environment of its commands."""

    name: str
    project: Path
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    umask: int = -1  # unchanged
    one_core: bool = False

    def prepare(self, settings: Mapping[str, str] | None = None) -> "Run":
        """Creates the project folder with a DVC cache of its own, and a home with these files. Returns the run.

        Links the user's Keras data sets into the home, so that nothing is downloaded again.
        """
        files = {self.project / ".dvc/config.local": OWN_FOLDERS.format(self.home / "site")}
        files |= {self.home / name: text for name, text in (settings or {}).items()}
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        self.datasets.parent.mkdir(parents=True, exist_ok=True)
        self.datasets.symlink_to(keras_cache().absolute())
        return self

    @property
    def datasets(self) -> Path:
        return self.home / ".keras/datasets"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(STEERING) and name not in FIXED}
        return kept | {
            "PATH": search_path(),
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            TRAIN_ANEW: "1",
            **self.variables,
        }

    def execute(self, command: Sequence[str]) -> str:
        """Runs a command and returns its output. On a terminal, shows the last line of it meanwhile.

        If the command fails, prints its output and raises `PipelineError`.
        """
        lines = []
        process = subprocess.Popen(
            command,
            cwd=self.project,
            env=self.environment,
            umask=self.umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        try:
            if self.one_core and hasattr(os, "sched_setaffinity"):  # which what it starts takes over
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
            for line in process.stdout or ():
                lines.append(line)
                self._show(line)
        finally:
            process.communicate()  # waits, after Ctrl-C too, as it still writes into the folder
            self._show("")
        printed = "".join(lines)
        if process.returncode:
            places = {self.datasets: str(keras_cache()), self.project: self.name}  # as both folders may be temporary
            for path, name in places.items():
                printed = printed.replace(str(path), name)
            print(printed, file=sys.stderr)
            failed = f"{' '.join(command)}: failed with exit status {process.returncode}"
            raise PipelineError(f"{self.name}: {failed}; see above")
        return printed

    def _show(self, line: str) -> None:
        if sys.stderr.isatty():
            shown = f"{self.name}: {line.strip()}"[: shutil.get_terminal_size().columns - 1] if line else ""
            print(f"\r\033[K{shown}", end="", file=sys.stderr, flush=True)


def search_path(*first: Path) -> str:
    """Returns a PATH that has these folders first, then that of this Python."""
    return os.pathsep.join([*map(str, (*first, Path(sys.executable).parent)), os.environ.get("PATH", os.defpath)])


def plain_user(name: str, folder: Path) -> Run:
    """Prepares a run in the caller's environment, with an empty home."""
    return Run(name, folder / "project", folder / "home").prepare()


def another_user(name: str, folder: Path) -> Run:
    """Prepares a run with another home, settings, locale, time zone, hash seed and umask, on one core."""
    home = folder / "home of another user"
    variables = OTHER_VARIABLES | {"XDG_CONFIG_HOME": str(home / ".config"), "XDG_CACHE_HOME": str(home / "caches")}
    return Run(name, folder / "a clone", home, variables, OTHER_UMASK, one_core=True).prepare(OTHER_SETTINGS)


def another_processor(name: str, folder: Path, processor: str) -> Run:
    """Prepares a run whose stages run on an emulated x86-64 processor, one of `qemu-x86_64 -cpu help`."""
    path = search_path(emulated_python(folder / "commands", processor).parent)
    return Run(name, folder / "project", folder / "home", {"PATH": path}).prepare()


def emulated_python(folder: Path, processor: str) -> Path:
    """Writes a command `python` into a folder that runs this Python on an emulated processor. Returns its path."""
    python = folder / "python"
    folder.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {processor} {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return python


def copy_own_data(to: Path) -> None:
    """Copies one's own data sets, which git ignores, into a copy of the project."""
    for path in OWN.rglob("*"):
        copy = to / path
        if path.is_file() and not copy.exists() and copy.parent.resolve() == to.resolve() / path.parent:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def copy_project(to: Path) -> None:
    """Copies the files that git tracks or would track and one's own data, with local edits, but without the results."""
    listed = os.fsdecode(git("ls-files", "-z", "--cached", "--others", "--exclude-standard")).split("\0")
    for name in filter(os.path.isfile, listed):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, to / name)
    remove_results(to, read_lock(to / LOCK).values(), LOCK)
    copy_own_data(to)


def remove_results(project: Path, entries: Iterable[dict[str, Any]], where: object) -> None:
    """Removes dvc.lock, what its entries say that stages wrote, and the overview, from a copy of the project.

    Raises `PipelineError`, which names `where` the entries stand, if they lead elsewhere.
    """
    for out in (out for entry in entries for out in digests(entry, "outs")):
        path = project / out
        if not path.resolve().is_relative_to(project.resolve()):
            raise PipelineError(f"{where}: expected outputs in the project's folder, found {out}")
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (LOCK, *OVER_ALL):
        (project / path).unlink(missing_ok=True)
