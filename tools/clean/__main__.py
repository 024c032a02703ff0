"""`make clean-results`: deletes the results of architectures, seeds and ensembles that params.yaml no longer names.

Models stay in DVC's cache, so a name that comes back is not trained again.
"""

import argparse
import contextlib
import os
import sys
from itertools import groupby
from pathlib import Path

from stages.common.files import write_text
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, load_params
from tools.clean.leftovers import Leftover, find_entries, find_files
from tools.common.lock import LOCK, split


def listing(files: list[Leftover], entries: list[str]) -> str:
    """The paths, under the architecture or ensemble that they are of, then the entries of dvc.lock."""
    groups = [(name, [file.path for file in group]) for name, group in groupby(files, lambda file: file.name)]
    if entries:
        groups.append((str(LOCK), entries))
    return "\n".join(f"{name}:\n" + "".join(f"  {item}\n" for item in items) for name, items in groups)


def counted(files: list[Leftover], entries: list[str]) -> str:
    """Such as `2 files and 1 entry of dvc.lock`."""
    counts = (
        (len(files), "file", "files"),
        (len(entries), f"entry of {LOCK}", f"entries of {LOCK}"),
    )
    return " and ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts if count)


def confirmed(question: str) -> bool:
    """Asks on the terminal. Raises `PipelineError` if there is none."""
    if not sys.stdin.isatty():
        raise PipelineError("no terminal to ask on; to delete these, run: make clean-results YES=1")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def delete(path: Path) -> None:
    """Deletes a file, or a symbolic link and not what it leads to; and folders that are empty then."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PipelineError(f"{path}: cannot delete: {error.strerror}; fix it and rerun") from error
    with contextlib.suppress(OSError):
        os.removedirs(path.parent)


def drop(entries: list[str]) -> None:
    """Removes the entries of these stages from dvc.lock; the other lines stay as they are."""
    head, found = split(LOCK.read_text(encoding="utf-8"))
    write_text(LOCK, head + "".join(lines for stage, lines in found.items() if stage not in entries))


@command
def main() -> None:
    """Deletes the results of architectures, seeds and ensembles that params.yaml no longer names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    arguments = parser.parse_args()
    params = load_params()
    files, entries = find_files(params), find_entries(params)
    if not (files or entries):
        print(f"nothing to delete: {PARAMS_PATH} names all results")
        return
    print(f"no longer in {PARAMS_PATH}:\n\n{listing(files, entries)}", flush=True)
    if not (arguments.yes or confirmed(f"delete these {counted(files, entries)}?")):
        print("nothing deleted")
        return
    for file in files:
        delete(file.path)
    if entries:
        drop(entries)
    print(f"deleted {counted(files, entries)}")


if __name__ == "__main__":
    main()
