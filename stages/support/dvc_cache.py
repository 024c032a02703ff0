"""Finds outputs of the last run in DVC's cache, and how to make damaged ones anew.

dvc.lock has the MD5 of each output, under which the cache keeps it. The layout of both is documented
(https://dvc.org/doc/user-guide/project-structure/internal-files).
"""

import contextlib
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from stages.support.errors import PipelineError, with_hint
from stages.support.yaml import read_yaml

LOCK = Path("dvc.lock")
TRAIN_ANEW = "TRAIN_ANEW"  # an environment variable: set to 1, no model of an earlier run is taken over


def recorded(path: Path) -> str | None:
    """Returns the MD5 that dvc.lock records for an output, which ends with `.dir` for a folder, or `None`."""
    try:
        outs = (out for stage in read_yaml(LOCK)["stages"].values() for out in stage.get("outs", ()))
        md5 = next(out["md5"] for out in outs if out["path"] == path.as_posix())
    except (OSError, PipelineError, AttributeError, LookupError, TypeError, StopIteration):
        return None
    return md5 if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", str(md5)) else None


class Cache:
    """DVC's cache, wherever it is configured to be."""

    def __init__(self) -> None:
        done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True)
        self.folder = Path(done.stdout.strip()) / "files/md5"

    def path(self, md5: str) -> Path:
        """Returns where the cache keeps what has this MD5."""
        return self.folder / md5[:2] / md5[2:]

    def listing(self, md5: str) -> dict[str, str]:
        """Returns the MD5 of each file of a folder by its path; {} if the cache has no such folder, or damaged."""
        try:
            content: list[dict[str, Any]] = json.loads(self.path(md5).read_bytes())
            return {str(file["relpath"]): str(file["md5"]) for file in content}
        except (OSError, ValueError, LookupError, TypeError):
            return {}

    def of_earlier_runs(self, outs: Iterable[Path]) -> Iterator[str]:
        """Yields the MD5 that the run cache has of these outputs, and of the files in those that are folders."""
        for run in self.folder.parents[1].glob("runs/*/*/*"):
            with contextlib.suppress(OSError, PipelineError, LookupError, TypeError):  # which DVC deletes
                for out in read_yaml(run)["outs"]:
                    if Path(out["path"]) in outs:
                        yield out["md5"]
                        yield from self.listing(out["md5"]).values()

    def read(self, md5: str) -> bytes | None:
        """Returns what has this MD5; `None` if the cache does not have it, or if it is damaged."""
        try:
            content = self.path(md5).read_bytes()
        except OSError:
            return None
        return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def made_by(stage: str, path: Path) -> AbstractContextManager[None]:
    """Adds to the message of a `PipelineError` how to make anew a file that a stage writes."""
    return with_hint(lambda: anew(stage, path))


def anew(stage: str, path: Path | None = None) -> str:
    """Returns how to make anew what a stage writes.

    DVC restores outputs from its cache, and takes a read-only file there for intact. So what differs from its MD5 is to
    be removed, there and in the workspace. If nothing does, damage was recorded: `path` and its copy are to be removed.
    Without `path`, the files are whole, but not what params.yaml describes: the stage is to be run.
    """
    here = Path.cwd()
    damaged = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in _damaged(stage, path)]
    remove = f"rm -f {shlex.join(damaged)} && " if damaged else ""
    run = f"dvc repro {stage}" if path else f"{TRAIN_ANEW}=1 dvc repro --force --single-item {stage}"
    return f"make it anew with: {remove}{run}"


def _damaged(stage: str, path: Path | None) -> list[Path]:
    """Returns the files of a stage, in the workspace and in DVC's cache, that stand between it and sound ones."""
    try:
        cache = Cache()
        outs = {Path(out["path"]): str(out["md5"]) for out in read_yaml(LOCK)["stages"][stage]["outs"]}
    except (OSError, subprocess.CalledProcessError, PipelineError, LookupError, TypeError):  # never run here
        return [path] if path and path.is_file() else []
    files = outs | {out / name: md5 for out in outs for name, md5 in cache.listing(outs[out]).items()}
    damaged = [file for file, md5 in files.items() if file.is_file() and _md5(file) != md5]
    if path and path.is_file() and (not damaged or path not in files):
        damaged += [path, cache.path(_md5(path))]
    if path and path not in files:  # nor in the list that dvc.lock has for its folder
        damaged += [cache.path(outs[out]) for out in outs if out in path.parents]
    for md5 in [*files.values(), *cache.of_earlier_runs(outs)]:
        copy = cache.path(md5)
        damaged += [copy] if copy.is_file() and _md5(copy) != md5.removesuffix(".dir") else []
    return [file for file in dict.fromkeys(damaged) if file.is_file()]


def _md5(path: Path) -> str:
    """Returns the MD5 of a file; one that nothing has if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return "unreadable"
