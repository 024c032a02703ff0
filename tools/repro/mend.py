"""Sets right what a DVC leaves that was killed while it wrote its own files (`make repro` calls it).

DVC writes dvc.lock and .dvc/tmp/rwlock in place, and an entry of its run-cache in two steps, so a
kill in those milliseconds leaves half of one, which every later command refuses. Nothing is lost
with it: dvc.lock is in git, and what was finished since is found again in the run-cache.
"""

import json
import subprocess
import sys
from pathlib import Path

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.yaml import parse_yaml
from tools.common.lock import LOCK
from tools.common.revision import git

RWLOCK = Path(".dvc/tmp/rwlock")


def lock_is_cut(text: str) -> bool:
    """Whether DVC would refuse this text for a dvc.lock, though no merge has left its marks there."""
    if "\n<<<<<<< " in text:
        return False
    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text.encode(), str(LOCK)))
    except (PipelineError, Invalid):
        return True
    return False


def rwlock_is_cut(text: str) -> bool:
    """Whether DVC would refuse this text for its rwlock."""
    try:
        return not isinstance(json.loads(text), dict)
    except ValueError:
        return True


def mend() -> list[str]:
    """Mends what is broken; returns what was done, a line each."""
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
    """The folder of DVC's run-cache, which several projects may share; `None` where DVC fails, and has said why."""
    told = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    return None if told.returncode else Path(told.stdout.strip()) / "runs"


@command
def main() -> None:
    """Mends dvc.lock and DVC's rwlock; exit status 1 if there was nothing to mend."""
    done = mend()
    for line in done:
        print(f"mended: {line}", file=sys.stderr)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
