"""The data set of an earlier run, which stays when no place serves it any more."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from stages.common.arrays import Archive, read_archive
from stages.common.errors import PipelineError
from stages.common.params import Source
from stages.common.yaml import read_yaml

LOCK = Path("dvc.lock")
LEFT_BY_A_RUN = Path("data/prepared"), Path("data/models")  # git ignores them, so a fresh clone has none


@dataclass(frozen=True)
class Earlier:
    """What fetch wrote when it last ran: the archive, and the content of its description ({} if that is gone)."""

    path: Path
    description: dict[str, Any]

    @classmethod
    def find(cls, archive: Path, description: Path) -> "Earlier":
        """Looks for these outputs of fetch, before it writes them anew."""
        try:
            content = json.loads(description.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        return cls(archive, content if isinstance(content, dict) else {})

    def __str__(self) -> str:
        return "an earlier run"

    def exists(self) -> bool:
        """Whether anything has run on this machine: it left the archive, or what is made of it."""
        return any(path.exists() for path in chain(LEFT_BY_A_RUN, self._copies()))

    @property
    def place(self) -> str | None:
        """The place that served it, or the first of those that hold the same arrays."""
        return next(iter(self.description.get("source", [])), None)

    def is_of(self, source: Source) -> bool:
        """Whether it came from this source; a pinned digest decides where there is no description."""
        if not self.description:
            return source.sha256 is not None
        dataset, digest = self.description.get("dataset"), self.description.get("sha256")
        return dataset == source.dataset and source.sha256 in (None, digest)

    def read(self) -> Archive:
        """Reads it from the workspace or DVC's cache; raises `PipelineError` if it is gone or damaged."""
        reasons = []
        for path in self._copies():
            try:
                archive = read_archive(path)
            except PipelineError as error:
                reasons.append(str(error))
                continue
            if self.description.get("sha256") in (None, archive.sha256()):
                return archive
            reasons.append(f"{path}: not what the last run fetched")
        gone = f"{self.path}: from no earlier run in the workspace or DVC's cache"
        raise PipelineError("; ".join(reasons) or gone)

    def _copies(self) -> Iterator[Path]:
        """Yields where it lies: in the workspace, and in DVC's cache as dvc.lock has it."""
        if self.path.exists():
            yield self.path
        if (md5 := _recorded_md5(self.path)) and (cached := _cache() / md5[:2] / md5[2:]).exists():
            yield cached


def _recorded_md5(path: Path) -> str | None:
    """What dvc.lock records of an output."""
    if not LOCK.exists():
        return None
    stages = (read_yaml(LOCK) or {}).get("stages", {})
    return next(
        (out["md5"] for stage in stages.values() for out in stage.get("outs", []) if out["path"] == str(path)), None
    )


def _cache() -> Path:
    """The folder where DVC's cache keeps files by MD5 (https://dvc.org/doc/user-guide/project-structure)."""
    told = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip()) / "files/md5"
