"""Mends the files that a killed DVC left half written (`make repro` does so when a run fails).

DVC writes dvc.lock and .dvc/tmp/rwlock in place, and an entry of its run-cache in two steps. A kill in those
milliseconds leaves half of one, which every later command refuses. Nothing is lost: dvc.lock is in git, and the
run-cache has what was finished since.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import psutil

from stages.common.files import write_text
from stages.support.errors import PipelineError, command
from tools.common.lock import LOCK
from tools.common.revision import git

RWLOCK = Path(".dvc/tmp/rwlock")


def lock_is_cut(text: str) -> bool:
    """Whether DVC would refuse this text for a dvc.lock, though no merge has left its marks there."""
    from tools.repro.dvc_internals import is_lock

    return "\n<<<<<<< " not in text and not is_lock(text)


def rwlock_is_cut(text: str) -> bool:
    """Whether DVC would refuse this text for its rwlock."""
    try:
        return not isinstance(json.loads(text), dict)
    except ValueError:
        return True


def release_rwlock() -> None:
    """Removes DVC's rwlock if all processes that hold it have ended, though nobody may have waited for them.

    DVC takes such a zombie for alive. In a container without an init, a killed DVC stays one.
    """
    holders = re.findall(r'"pid": (\d+)', RWLOCK.read_text(errors="replace")) if RWLOCK.exists() else []
    if holders and all(_has_ended(int(pid)) for pid in holders):
        RWLOCK.unlink()


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def mend() -> list[str]:
    """Mends what is broken; returns a line for each thing done."""
    done = []
    if LOCK.exists() and lock_is_cut(LOCK.read_text(encoding="utf-8", errors="replace")):
        try:
            write_text(LOCK, git("show", f"HEAD:./{LOCK}").decode())
            done.append(f"{LOCK} was cut short; the committed one is back")
        except PipelineError:
            LOCK.unlink()
            done.append(f"{LOCK} was cut short and is in no commit; removed")
    if RWLOCK.exists() and rwlock_is_cut(RWLOCK.read_text(encoding="utf-8", errors="replace")):
        RWLOCK.unlink()
        done.append(f"{RWLOCK} was cut short; removed")
    cache = run_cache()
    for entry in cache.glob("*/*") if cache else ():
        if not any(entry.iterdir()):
            entry.rmdir()
            done.append(f"{entry} was empty; removed")
    return done


def run_cache() -> Path | None:
    """The folder of DVC's run-cache, which several projects may share; `None` where DVC fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    return None if done.returncode else Path(done.stdout.strip()) / "runs"


@command
def main() -> None:
    """Mends dvc.lock and DVC's rwlock; exit status 1 if there was nothing to mend."""
    done = mend()
    for line in done:
        print(f"mended: {line}", file=sys.stderr)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
