"""Finds outputs of the last run in DVC's cache: dvc.lock has their MD5, under which the cache keeps them.

The layout of both is documented (https://dvc.org/doc/user-guide/project-structure/internal-files).
"""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.support.errors import PipelineError
from stages.support.yaml import read_yaml

LOCK = Path("dvc.lock")


def recorded(path: Path) -> str | None:
    """The MD5 that dvc.lock records for an output, which ends with `.dir` for a folder; `None` if it has none."""
    try:
        outs = (out for stage in read_yaml(LOCK)["stages"].values() for out in stage.get("outs", ()))
        found = next(out["md5"] for out in outs if out["path"] == path.as_posix())
    except (OSError, PipelineError, AttributeError, LookupError, TypeError, StopIteration):
        return None
    return found if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", str(found)) else None


class Cache:
    """DVC's cache, wherever it is configured to be. Asks DVC once."""

    def __init__(self) -> None:
        done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=True)
        self.folder = Path(done.stdout.strip()) / "files/md5"

    def path(self, md5: str) -> Path:
        """Where the cache keeps what has this MD5."""
        return self.folder / md5[:2] / md5[2:]

    def listing(self, md5: str) -> dict[str, str]:
        """The MD5 of each file of a folder, by its path there; {} if the cache has no such folder, or a damaged one."""
        try:
            content: list[dict[str, Any]] = json.loads(self.path(md5).read_bytes())
            return {str(entry["relpath"]): str(entry["md5"]) for entry in content}
        except (OSError, ValueError, LookupError, TypeError):
            return {}

    def read(self, md5: str) -> bytes | None:
        """What has this MD5; `None` if the cache does not have it, or if it is damaged."""
        try:
            content = self.path(md5).read_bytes()
        except OSError:
            return None
        return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None
