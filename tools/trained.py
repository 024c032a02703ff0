"""Makes one commit of the results that CI trained, if they are nothing but results (`.github/workflows/trained.yml`).

The patch may come from foreign code. Git applies it to an index of its own; nothing is checked out or run. Needs only
Python's standard library and git, as the job that runs it can write to the repository, and so installs nothing.
"""

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stages.support.errors import PipelineError, command
from tools.common.git import git

MB = 1_000_000
MAX_FILE = 5 * MB  # bytes of one file; those of MNIST have up to 0.35 MB
MAX_PATCH = 50 * MB  # bytes of the patch, and of all files that it changes
NAME = r"[\w-][\w.-]*"
RESULTS = rf"dvc\.lock|data/raw/{NAME}\.json|metrics/({NAME}/)*{NAME}\.(json|md)|plots/({NAME}/)*{NAME}\.(csv|json|png)"
DELETED, PLAIN_FILE = "000000", "100644"
PNG = b"\x89PNG\r\n\x1a\n"
AUTHOR = {"NAME": "github-actions[bot]", "EMAIL": "41898282+github-actions[bot]@users.noreply.github.com"}


def make_commit(patch: Path, parent: str) -> str:
    """Makes the commit, on no branch, and returns its digest; empty if the patch is empty.

    It has the parent's date, so that the same results always give the same commit. Raises `PipelineError` if the patch
    does not apply to the parent, or changes anything but results.
    """
    _limit(str(patch), patch.stat().st_size, MAX_PATCH)
    if not patch.stat().st_size:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", parent, **index)
        git("apply", "--cached", str(patch.resolve()), **index)
        tree = git("write-tree", **index).decode().strip()
    _limit(str(patch), sum(_size(*change) for change in _changes(parent, tree)), MAX_PATCH)
    date = git("show", "--no-patch", "--format=%cI", parent).decode().strip()
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (AUTHOR | {"DATE": date}).items()
    }
    return git("commit-tree", tree, "-p", parent, "-m", "Results, trained by CI", **who).decode().strip()


def _changes(parent: str, tree: str) -> Iterator[tuple[str, str, str]]:
    """Yields the path, the mode and the blob of each file that differs."""
    fields = os.fsdecode(git("diff-tree", "-r", "-z", "--no-renames", parent, tree)).split("\0")
    for change, path in zip(fields[:-1:2], fields[1::2], strict=True):
        _, mode, _, blob, _ = change.split()
        yield path, mode, blob


def _size(path: str, mode: str, blob: str) -> int:
    """Returns the size of a file, in bytes; raises `PipelineError` unless it is a result, of the kind of its name."""
    if not re.fullmatch(RESULTS, path, re.ASCII):
        raise PipelineError(f"{path}: expected only dvc.lock, data/raw/*.json, metrics/ and plots/ to differ")
    if mode == DELETED:
        return 0
    if mode != PLAIN_FILE:
        raise PipelineError(f"{path}: expected a plain file (mode {PLAIN_FILE}), found mode {mode}")
    size = int(git("cat-file", "-s", blob))
    _limit(path, size, MAX_FILE)
    content = git("cat-file", "blob", blob)
    is_picture = path.endswith(".png")
    if not (content.startswith(PNG) if is_picture else _is_text(content)):
        raise PipelineError(f"{path}: expected {'a PNG picture' if is_picture else 'text'}, found other bytes")
    return size


def _limit(path: str, size: int, limit: int) -> None:
    if size > limit:
        raise PipelineError(f"{path}: expected at most {limit // MB} MB, found {size / MB:.1f} MB")


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


@command
def main() -> None:
    """Makes one commit of a patch with results, on no branch, and prints its digest; nothing if the patch is empty."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("patch", type=Path, help="what CI trained: git diff --binary")
    parser.add_argument("parent", help="the commit that it was trained from")
    arguments = parser.parse_args()
    print(make_commit(arguments.patch, arguments.parent))


if __name__ == "__main__":
    main()
