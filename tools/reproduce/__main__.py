"""Reruns a commit from scratch and checks that it gives the recorded results (`make reproduce`).

Checks out the commit in a temporary folder, without its results, a cache or a remote, and runs `make repro` there;
with a base, only for what the commit changes. Compares the output byte for byte with what git and dvc.lock record. This
finds numbers edited by hand, and models trained with other code.

Exit status: 0 reproduced, 1 error, 2 wrong usage, 3 not reproduced.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.common.files import write_json
from stages.common.kernels import why_not_portable
from stages.support.errors import PipelineError, command, named
from stages.support.versions import other_version, pins
from tools.common import results
from tools.common.arguments import number
from tools.common.lock import LOCK, digests, read_lock, stages_of
from tools.common.predictions import (
    architectures_of,
    describe_difference,
    read_predictions,
)
from tools.common.revision import Revision, git
from tools.common.surroundings import Run, copy_own_data
from tools.common.unseen import unseen_by_review
from tools.reproduce.selection import changed

NOT_REPRODUCED = 3
SHARED = "data set"  # the space keeps it apart from names of architectures
LISTED = 4  # maximum number of file names in a line


def check_environment(head: Revision) -> None:
    """Raises `PipelineError` unless the library versions that decide the commit's bytes are installed."""
    for path in map(pins, ("common", "data", "models", "results")):
        if difference := other_version((head.read(path) or b"").decode()):
            raise PipelineError(f"{path} in {head}: {difference}; run make reproduce in a checkout of that commit")


def rerun(run: Run, head: Revision, names: list[str], options: list[str]) -> None:
    """Reruns these architectures in the checked-out commit, with these options of tools.repro.

    First fetches the data, which must be the recorded data.
    """
    recorded = stages_of(head)
    for entry in recorded.values():
        for out in digests(entry, "outs"):
            path = run.project / out
            if not path.resolve().is_relative_to(run.project.resolve()):
                raise PipelineError(f"{LOCK} in {head}: expected outputs in the project's folder, found {out}")
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (run.project / LOCK).unlink(missing_ok=True)
    copy_own_data(run.project)
    run.execute(["dvc", "repro", "fetch"])
    old, new = head.read_json(results.DESCRIPTION) or {}, _folder(run).read_json(results.DESCRIPTION)
    if old.get("sha256") != new["sha256"]:
        datasets = f"recorded with {old.get('dataset')}, but found {new['dataset']}"
        raise PipelineError(
            f"{results.DESCRIPTION}: {datasets}; put the data set at a place listed in data.sources and rerun"
        )
    run.execute(["python", "-m", "tools.repro", *options, "preprocess", *(f"report@{name}" for name in names)])


def differences(recorded: dict[str, Any], run: Run, head: Revision) -> dict[str, list[str]]:
    """Outputs that differ from the recorded bytes, by architecture; `SHARED` for those of all architectures."""
    differing: dict[str, list[str]] = {}
    here = _folder(run)
    for stage, entry in read_lock(run.project / LOCK).items():
        name = stage.partition("@")[2] or SHARED
        before = digests(recorded.get(stage, {}), "outs")
        for path, digest in digests(entry, "outs").items():
            in_git = head.digest(path)
            if digest != before.get(path) or (in_git and in_git != here.digest(path)):
                differing.setdefault(name, []).append(path)
    return differing


def describe(name: str, paths: list[str], head: Revision, run: Run) -> str:
    """Which files differ, and by how much predictions and accuracy differ."""
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    parts = [f"differs in {', '.join(paths[:LISTED])}{more}"]
    old, new = (read_predictions(side, name) for side in (head, _folder(run)))
    if old and new:
        models = dict(zip(old.seeds, old.models, strict=True))
        differing = [str(seed) for seed, md5 in zip(new.seeds, new.models, strict=True) if models.get(seed) != md5]
        parts += [f"other models with seeds {', '.join(differing)}"] if differing else []
        decimals = head.params().get("evaluate", {}).get("decimals", 9)
        parts.append(f"predictions: {describe_difference(old, new, decimals).removeprefix('predictions ')}")
    old, new = ((side.read_json(results.metrics(name)) or {}).get("accuracy") for side in (head, _folder(run)))
    if name != SHARED:
        parts.append(f"accuracy: recorded {old}, now {new}")
    return "; ".join(parts)


def _folder(run: Run) -> Revision:
    return Revision("the rerun", None, run.project)


@contextmanager
def checked_out(head: Revision) -> Iterator[Path]:
    """Yields the project's folder in a temporary copy of a commit's files, with an empty git repository."""
    prefix = git("rev-parse", "--show-prefix").decode().strip()
    with tempfile.TemporaryDirectory() as folder, named(Path(folder, "tree"), "the rerun"):
        tree, index = Path(folder, "tree"), {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", str(head.commit), **index)
        git("checkout-index", "--all", f"--prefix={tree}/", **index)
        git("init", "--quiet", str(tree))  # DVC requires a repository
        yield tree / prefix


def reproduce(head: Revision, names: list[str], options: list[str]) -> dict[str, str]:
    """Reruns these of a commit. Returns how each, and the data set, differs; empty if it does not."""
    check_environment(head)
    with checked_out(head) as tree, tempfile.TemporaryDirectory() as home:
        run = Run("the rerun", tree.absolute(), Path(home))
        run.prepare({})
        rerun(run, head, names, options)
        outcome = differences(stages_of(head), run, head)
        differing = {name: describe(name, paths, head, run) for name, paths in outcome.items()}
    return {name: differing.get(name, "") for name in [SHARED, *names]}


def lines(outcome: dict[str, str]) -> Iterator[str]:
    """One line per result."""
    for name, differs in outcome.items():
        yield f"{name}: {f'NOT reproduced: {differs}' if differs else 'reproduced byte for byte'}"


@command
def main() -> None:
    """Rerun a commit and compare the output with its recorded results, byte for byte."""
    statuses = "exit status: 0 reproduced, 1 error, 2 wrong usage, 3 not reproduced"
    parser = argparse.ArgumentParser(prog="python -m tools.reproduce", description=main.__doc__, epilog=statuses)
    parser.add_argument("commit", nargs="?", default="HEAD", help="a git revision (default: HEAD)")
    parser.add_argument("--base", help="a git revision; rerun only what the commit changed since this one")
    jobs = "stages at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=jobs)
    arguments = parser.parse_args()
    head = Revision.find(arguments.commit)
    names = list(architectures_of(head))
    if arguments.base:
        base = Revision.find(arguments.base)
        fork = git("merge-base", str(base.commit), str(head.commit)).decode().strip()
        names = changed(Revision(arguments.base, fork), head)
        if not names:
            print(f"nothing to run: {head} changes no architecture since it branched from {base}")
            print("".join(f"{line}\n" for line in unseen_by_review(head)), end="")
            return
    outcome = reproduce(head, names, ["--jobs", str(arguments.jobs)] if arguments.jobs else [])
    print(*lines(outcome), sep="\n")
    write_json(results.REPRODUCED, {"commit": head.commit, "results": outcome})
    if any(outcome.values()):
        if why := why_not_portable(head.params().get("train", {}).get("kernels", "native")):
            print(
                f"{why}: bytes differ between machines; to compare predictions, run: make review BASE=HEAD",
                file=sys.stderr,
            )
        sys.exit(NOT_REPRODUCED)


if __name__ == "__main__":
    main()
