"""Reruns a commit from scratch and checks that it gives the recorded results (`make reproduce`).

Checks out the commit in a temporary folder, without its results, a cache or a remote, and runs `make repro` there;
with a base, only for what the commit changes. Compares the output byte for byte with what git and dvc.lock record. This
finds numbers edited by hand, and models trained with other code.

Exit status: 0 reproduced, 1 error, 2 wrong usage, 3 not reproduced.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.common.files import write_json
from stages.common.kernels import why_not_portable
from stages.support.errors import PipelineError, command, named
from stages.support.versions import other_version, pins
from tools.common import results
from tools.common.arguments import number
from tools.common.git import git
from tools.common.lock import LOCK, digests, read_lock, stages_of
from tools.common.predictions import architectures_of, describe_difference, read_predictions
from tools.common.revision import Revision
from tools.common.surroundings import Run, copy_own_data, remove_results
from tools.common.unseen import unseen_by_review
from tools.repro.plan import Plan

NOT_REPRODUCED = 3
SHARED = "data set"  # the space keeps it apart from names of architectures
MAX_LISTED = 4  # maximum number of file names in a line


def check_environment(head: Revision) -> None:
    """Raises `PipelineError` unless the library versions that decide the commit's bytes are installed."""
    for path in map(pins, ("common", "data", "models", "results")):
        if difference := other_version((head.read(path) or b"").decode()):
            raise PipelineError(f"{path} in {head}: {difference}; run make reproduce in a checkout of that commit")


@contextlib.contextmanager
def checked_out(head: Revision) -> Iterator[Run]:
    """Yields a run in a temporary copy of a commit's files and one's own data, with an empty git repository."""
    prefix = git("rev-parse", "--show-prefix").decode().strip()
    with tempfile.TemporaryDirectory() as folder, named(Path(folder, "tree"), "the rerun"):
        home, tree, index = Path(folder, "home"), Path(folder, "tree"), {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", str(head.commit), **index)
        git("checkout-index", "--all", f"--prefix={tree}/", **index)
        git("init", "--quiet", str(tree))  # DVC requires a repository
        run = Run("the rerun", (tree / prefix).absolute(), home.absolute()).prepare()
        copy_own_data(run.project)
        yield run


def select(run: Run, base: Revision, head: Revision) -> list[str]:
    """Returns the architectures that a commit changes, all if something shared differs, such as the seeds.

    They are those that `make repro ALLOW_MISSING=1` runs with the dvc.lock of the base, to which the commit's results
    must belong, and those whose entries in dvc.lock differ.
    """
    names, old, new = list(architectures_of(head)), stages_of(base), stages_of(head)
    edited = {stage for stage, entry in new.items() if entry != old.get(stage)}
    if any("@" not in stage for stage in edited):
        return names
    (run.project / LOCK).write_bytes(base.read(LOCK) or b"")
    with contextlib.chdir(run.project):
        edited |= Plan.read([], allow_missing=True).outdated
    return [name for name in names if name in {stage.partition("@")[2] for stage in edited}]


def rerun(run: Run, head: Revision, names: Sequence[str], options: Sequence[str]) -> Revision:
    """Reruns these architectures in the checked-out commit, with these options of tools.repro; returns its folder.

    First fetches the data, which must be the recorded data.
    """
    here = Revision(run.name, None, run.project)
    remove_results(run.project, stages_of(head).values(), f"{LOCK} in {head}")
    run.execute(["dvc", "repro", "fetch"])
    old, new = head.read_json(results.DESCRIPTION) or {}, here.read_json(results.DESCRIPTION)
    if old.get("sha256") != new["sha256"]:
        datasets = f"recorded with {old.get('dataset')}, but found {new['dataset']}"
        raise PipelineError(
            f"{results.DESCRIPTION}: {datasets}; put the data set at a place listed in data.sources and rerun"
        )
    run.execute(["python", "-m", "tools.repro", *options, "preprocess", *(f"report@{name}" for name in names)])
    return here


def differences(here: Revision, head: Revision) -> dict[str, list[str]]:
    """Lists outputs that differ from the recorded bytes, by architecture; `SHARED` for those of all architectures."""
    differing: dict[str, list[str]] = {}
    recorded = stages_of(head)
    for stage, entry in read_lock(here.folder / LOCK).items():
        before = digests(recorded.get(stage, {}), "outs")
        for path, digest in digests(entry, "outs").items():
            in_git = head.digest(path)
            if digest != before.get(path) or (in_git and in_git != here.digest(path)):
                differing.setdefault(stage.partition("@")[2] or SHARED, []).append(path)
    return differing


def describe(name: str, paths: list[str], here: Revision, head: Revision) -> str:
    """Describes which files differ, and by how much predictions and accuracy differ."""
    more = f" and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else ""
    parts = [f"differs in {', '.join(paths[:MAX_LISTED])}{more}"]
    old, new = (read_predictions(side, name) for side in (head, here))
    if old and new:
        models = dict(zip(old.seeds, old.models, strict=True))
        differing = [str(seed) for seed, md5 in zip(new.seeds, new.models, strict=True) if models.get(seed) != md5]
        parts += [f"other models with seeds {', '.join(differing)}"] if differing else []
        decimals = head.params().get("evaluate", {}).get("decimals", 9)
        parts.append(f"predictions: {describe_difference(old, new, decimals)}")
    if name != SHARED:
        old, new = ((side.read_json(results.metrics(name)) or {}).get("accuracy") for side in (head, here))
        parts.append(f"accuracy: recorded {old}, now {new}")
    return "; ".join(parts)


def reproduce(head: Revision, fork: Revision | None, options: Sequence[str]) -> dict[str, str]:
    """Reruns a commit, or what it changes since a base. Returns how each architecture, and the data set, differs.

    The text is empty for what does not differ. Nothing is returned if nothing had to run.
    """
    with checked_out(head) as run:
        names = select(run, fork, head) if fork else list(architectures_of(head))
        if fork and not names:
            return {}
        check_environment(head)
        here = rerun(run, head, names, options)
        differing = {name: describe(name, paths, here, head) for name, paths in differences(here, head).items()}
    return {name: differing.get(name, "") for name in [SHARED, *names]}


@command
def main() -> None:
    """Reruns a commit and compares the output with its recorded results, byte for byte."""
    statuses = "exit status: 0 reproduced, 1 error, 2 wrong usage, 3 not reproduced"
    parser = argparse.ArgumentParser(prog="python -m tools.reproduce", description=main.__doc__, epilog=statuses)
    parser.add_argument("commit", nargs="?", default="HEAD", help="a git revision (default: HEAD)")
    parser.add_argument("--base", help="a git revision; rerun only what the commit changed since this one")
    jobs = "stages at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=jobs)
    arguments = parser.parse_args()
    head, fork = Revision.find(arguments.commit), None
    if arguments.base:
        base = Revision.find(arguments.base)
        fork = Revision(arguments.base, git("merge-base", str(base.commit), str(head.commit)).decode().strip())
    outcome = reproduce(head, fork, ["--jobs", str(arguments.jobs)] if arguments.jobs else [])
    if not outcome:
        print(f"nothing to run: {head} changes no architecture since it branched from {fork}")
        print("".join(f"{line}\n" for line in unseen_by_review(head)), end="")
        return
    for name, differs in outcome.items():
        print(f"{name}: {f'NOT reproduced: {differs}' if differs else 'reproduced byte for byte'}")
    write_json(results.REPRODUCED, {"commit": head.commit, "results": outcome})
    if any(outcome.values()):
        if why := why_not_portable(head.params().get("train", {}).get("kernels", "native")):
            advice = "bytes differ between machines; to compare predictions, run: make review BASE=HEAD"
            print(f"{why}: {advice}", file=sys.stderr)
        sys.exit(NOT_REPRODUCED)


if __name__ == "__main__":
    main()
