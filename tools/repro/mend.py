"""Mends the files that a killed DVC left half written (`make repro` does so when a run fails).

DVC writes dvc.lock and .dvc/tmp/rwlock in place, and an entry of its run-cache in two steps. A kill in those
milliseconds leaves half of one, which every later command refuses. Nothing is lost: dvc.lock is in git, and the
run-cache has what was finished since.
"""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from stages.common.files import write_text
from stages.support.dvc_cache import Cache
from stages.support.errors import PipelineError
from tools.common.git import git
from tools.common.lock import LOCK, is_in_conflict

RWLOCK = Path(".dvc/tmp/rwlock")


def release_rwlock() -> None:
    """Removes DVC's rwlock if all processes that hold it have ended, or are zombies.

    DVC takes a zombie for alive. In a container without an init, a killed DVC stays one.
    """
    holders = re.findall(r'"pid": (\d+)', RWLOCK.read_text(errors="replace")) if RWLOCK.exists() else []
    if holders and all(_has_ended(int(pid)) for pid in holders):
        RWLOCK.unlink()


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def mend() -> Iterator[str]:
    """Mends what is broken; yields a line for each thing done."""
    from tools.repro.dvc_internals import is_lock

    text = LOCK.read_text(encoding="utf-8", errors="replace") if LOCK.exists() else None
    if text is not None and not is_in_conflict() and not is_lock(text):  # a merge is left to the user
        try:
            write_text(LOCK, git("show", f"HEAD:./{LOCK}").decode())
            yield f"{LOCK} was cut short; the committed one is back"
        except PipelineError:
            LOCK.unlink()
            yield f"{LOCK} was cut short and is in no commit; removed"
    try:
        json.loads(RWLOCK.read_text(encoding="utf-8", errors="replace") if RWLOCK.exists() else "{}")
    except ValueError:
        RWLOCK.unlink()
        yield f"{RWLOCK} was cut short; removed"
    with contextlib.suppress(subprocess.CalledProcessError):  # where DVC fails
        for entry in Cache().folder.parents[1].glob("runs/*/*"):
            if not any(entry.iterdir()):
                entry.rmdir()
                yield f"{entry} was empty; removed"
