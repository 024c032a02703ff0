"""Runs a commit again, as a stranger would, and says whether its results come out (`make reproduce`).

The commit's files go into a temporary folder, without the results that it records, a cache or a remote; there
`make repro` runs. With a base, only the architectures that the commit changes are run. What comes out is compared
byte for byte with what git and dvc.lock record: so a number that was edited by hand shows, and a model that was trained
with other code. Exit status: 0 reproduced; 1 an error; 2 a mistake in the command line; 3 not reproduced.
"""

import argparse
import importlib.metadata
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.common.errors import PipelineError, command
from stages.common.files import write_json
from stages.common.kernels import why_not_portable
from tools.compare import verdict
from tools.lock import LOCK, read_lock
from tools.overview import DESCRIPTION
from tools.predictions import Predictions
from tools.review.lock import checked_out, digests, stages_of
from tools.review.reproduced import REPRODUCED
from tools.revision import Revision, git
from tools.surroundings import Run

NOT_REPRODUCED = 3
SHARED = "data set"  # no name of an architecture
LISTED = 4  # files named in a line, at most
SHARED_FILES = ("dvc.yaml", "requirements.txt")  # beside the modules that stages depend on


def changed(base: Revision, head: Revision) -> list[str]:
    """The architectures whose params, entries in dvc.lock or results differ; all, if what they share differs."""
    old, new = stages_of(base), stages_of(head)
    files = git("diff", "--name-only", "--relative", "-z", base.commit, head.commit).decode().split("\0")
    written = {out: stage for stage, entry in new.items() for out in digests(entry, "outs")}
    differing = {stage for stage, entry in new.items() if entry != old.get(stage)}
    differing |= {stage for out, stage in written.items() if any(Path(file).is_relative_to(out) for file in files)}
    shared = {*SHARED_FILES, *(dep for entry in new.values() for dep in digests(entry, "deps") if dep not in written)}
    before, after = base.params(), head.params()
    sections = [key for key in before | after if key not in ("architectures", "overview")]
    if (
        any("@" not in stage for stage in differing)
        or any(Path(file).is_relative_to(path) for file in files for path in shared)
        or any(before.get(key) != after.get(key) for key in sections)
    ):
        return list(after["architectures"])
    differing = {stage.partition("@")[2] for stage in differing}
    known = before.get("architectures", {})
    return [name for name, value in after["architectures"].items() if name in differing or value != known.get(name)]


def check_environment(head: Revision) -> None:
    """Raises an error unless the versions that the commit pins are installed."""
    text = (head.read("requirements.txt") or b"").decode()
    pins = re.findall(r"^([\w.-]+)==([\w.]+)\s*(?:[\\#]|$)", text, re.MULTILINE)  # none of other systems' alone
    for name, version in pins:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != version:
            expected = f"requirements.txt in {head}: expected {name} {version}, found {found} in this environment"
            raise PipelineError(f"{expected}; run make reproduce in a checkout of that commit")


def rerun(run: Run, head: Revision, names: list[str]) -> None:
    """Runs these architectures in a folder with the commit's files; first the data, which must be those recorded."""
    recorded = stages_of(head)
    for entry in recorded.values():
        for out in digests(entry, "outs"):
            path = run.project / out
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (run.project / LOCK).unlink(missing_ok=True)
    run.execute(["python", "-m", "tools.repro", "fetch"])
    old, new = head.read_json(DESCRIPTION) or {}, _folder(run).read_json(DESCRIPTION)
    if old.get("sha256") != new["sha256"]:
        found = f"recorded {old.get('dataset')}, found {new['dataset']}"
        raise PipelineError(f"{DESCRIPTION}: {found}; put the data set where data.sources looks for it, and run again")
    run.execute(["python", "-m", "tools.repro", *(f"report@{name}" for name in names)])


def differences(recorded: dict[str, Any], run: Run, head: Revision) -> dict[str, list[str]]:
    """The outputs that are not the recorded bytes, by architecture; `SHARED` are those of no one architecture."""
    found: dict[str, list[str]] = {}
    for stage, entry in read_lock(run.project / LOCK).items():
        name = stage.partition("@")[2] or SHARED
        before = digests(recorded.get(stage, {}), "outs")
        for path, digest in digests(entry, "outs").items():
            in_git, now = head.read(path), run.project / path
            if digest != before.get(path) or (in_git is not None and now.is_file() and in_git != now.read_bytes()):
                found.setdefault(name, []).append(path)
    return found


def explain(name: str, paths: list[str], head: Revision, run: Run) -> str:
    """Which files differ, and by how much: predictions, and accuracy."""
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    told = [f"differs in {', '.join(paths[:LISTED])}{more}"]
    old, new = (Predictions.read(side, name) for side in (head, _folder(run)))
    if old and new:
        decimals = head.params().get("evaluate", {}).get("decimals", 9)
        told.append(f"predictions: {verdict(old, new, decimals).removeprefix('predictions ')}")
    old, new = ((side.read_json(f"metrics/{name}.json") or {}).get("accuracy") for side in (head, _folder(run)))
    if name != SHARED:
        told.append(f"accuracy: recorded {old}, now {new}")
    return "; ".join(told)


def _folder(run: Run) -> Revision:
    return Revision("the rerun", None, run.project)


def reproduce(head: Revision, names: list[str]) -> dict[str, str]:
    """Runs these architectures of a commit; what is not as recorded of each, and of the data; empty where all is."""
    check_environment(head)
    with checked_out(head) as tree, tempfile.TemporaryDirectory() as home:
        run = Run("the rerun", tree.absolute(), Path(home))
        run.prepare({})
        rerun(run, head, names)
        found = differences(stages_of(head), run, head)
        told = {name: explain(name, paths, head, run) for name, paths in found.items()}
    return {name: told.get(name, "") for name in [SHARED, *names]}


def lines(results: dict[str, str]) -> Iterator[str]:
    """What is told of each."""
    for name, differs in results.items():
        yield f"{name}: {f'NOT reproduced: {differs}' if differs else 'reproduced: the recorded bytes'}"


@command
def main() -> None:
    """Runs a commit again and compares what comes out with what it records, byte for byte."""
    statuses = "exit status: 0 reproduced, 1 error, 2 usage, 3 not reproduced"
    parser = argparse.ArgumentParser(description=main.__doc__, epilog=statuses)
    parser.add_argument("commit", nargs="?", default="HEAD", help="a git revision; HEAD unless given")
    parser.add_argument("--base", help="a git revision; runs only what the commit changes since it left this one")
    arguments = parser.parse_args()
    head = Revision.find(arguments.commit)
    names = list(head.params().get("architectures") or {})
    if arguments.base:
        base = Revision.find(arguments.base)
        fork = git("merge-base", base.commit, head.commit).decode().strip()
        names = changed(Revision(arguments.base, fork), head)
        if not names:
            print(f"nothing to run: {head} changes no architecture since it left {base}")
            return
    results = reproduce(head, names)
    print(*lines(results), sep="\n")
    write_json(REPRODUCED, {"commit": head.commit, "results": results})
    if any(results.values()):
        if why := why_not_portable(head.params().get("train", {}).get("kernels", "native")):
            print(f"{why}: other machines give other bytes; to compare predictions: make compare", file=sys.stderr)
        sys.exit(NOT_REPRODUCED)


if __name__ == "__main__":
    main()
