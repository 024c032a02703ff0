"""`make clean-results`: deletes results that no stage of dvc.yaml writes, as their architecture is gone.

Models stay in DVC's cache, so a name that comes back is not trained again.
"""

import argparse
import contextlib
import os
from pathlib import Path

from stages.common.files import write_text
from stages.models.checkpoint import CHECKPOINTS
from stages.support.errors import PipelineError, command
from stages.support.params import load_params
from tools.common.arguments import confirmed
from tools.common.definitions import stages
from tools.common.lock import LOCK, split
from tools.common.results import METRICS, MODELS, OVER_ALL, PLOTS
from tools.common.revision import WORKSPACE


def leftovers(written: set[Path]) -> list[Path]:
    """Returns files of results that no stage and not the overview writes, and checkpoints without a stage.

    A symbolic link counts as a file. What it leads to does not count.
    """
    kept = {*written, *OVER_ALL, *(CHECKPOINTS / path.name for path in written if path.parent == MODELS)}
    paths = (path for top in (MODELS, METRICS, PLOTS, CHECKPOINTS) for path in top.rglob("*"))
    files = (path for path in paths if path.is_symlink() or not path.is_dir())
    return sorted(path for path in files if kept.isdisjoint([path, *path.parents]))


def delete(path: Path) -> None:
    """Deletes a file, or a symbolic link and not what it leads to; and folders that are empty then."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PipelineError(f"{path}: cannot delete: {error.strerror}; fix it and rerun") from error
    with contextlib.suppress(OSError):
        os.removedirs(path.parent)


@command
def main() -> None:
    """Deletes results that no stage of dvc.yaml writes, and their entries in dvc.lock."""
    parser = argparse.ArgumentParser(prog="python -m tools.clean", description=main.__doc__)
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    arguments = parser.parse_args()
    load_params()  # so that a mistake there deletes nothing
    defined = stages(WORKSPACE.read_yaml("dvc.yaml"), WORKSPACE.params(), "dvc.yaml")
    files = leftovers({Path(out) for stage in defined.values() for out in stage.outs})
    head, entries = (split(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else None) or ("", {})
    dead = [name for name in entries if name not in defined]
    if not (files or dead):
        print("nothing to delete: a stage of dvc.yaml writes each result")
        return
    print("no stage of dvc.yaml writes these:", *files, *(f"{LOCK}: {name}" for name in dead), sep="\n", flush=True)
    if not (arguments.yes or confirmed("delete these?", "make clean-results YES=1")):
        print("nothing deleted")
        return
    for file in files:
        delete(file)
    if dead:
        write_text(LOCK, head + "".join(text for name, text in entries.items() if name in defined))
    print(f"deleted {len(files)} files and {len(dead)} entries of {LOCK}")


if __name__ == "__main__":
    main()
