"""Proves that reruns give the same bytes (`make verify`), in temporary folders.

Three runs of the project as it stands in the working tree:

1. a first run;
2. the same folder again, `dvc repro --force`;
3. a clean clone in another folder, as another user (see `tools.surroundings`), as `make repro` runs it:
   stages side by side, in forks of a process that has imported the libraries.

The last two go on at the same time. No run finds a cached result: each has an empty cache of its own
or is forced. Every file of the project is then compared byte for byte: outputs, overview, dvc.lock and
sources. The small configuration takes the embedded offline data, one epoch, and a few architectures
that together use every kind of layer; `--full` takes params.yaml as it is.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.common.errors import PipelineError, command
from stages.common.params import PARAMS_PATH, Params, load_params
from stages.fetch import EMBEDDED
from tools.differences import difference
from tools.lock import LOCK, read_lock
from tools.overview import COMPARISON, COMPARISON_CHART, PAGE, TRAINING, TRAINING_CHART
from tools.surroundings import Run, another_user, plain_user

SIDE_BY_SIDE = 4  # stages at once
NOT_COMPARED = {".git", ".dvc"}
OVERVIEW = [str(path) for path in (COMPARISON, TRAINING, COMPARISON_CHART, TRAINING_CHART, PAGE)]


def outputs(stage: dict[str, Any]) -> list[str]:
    """The paths that a stage writes, files and folders."""
    return [out["path"] for out in stage.get("outs", [])]


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return Path(path).is_relative_to(folder)


def copy_project(to: Path) -> None:
    """Copies what git tracks or would track, as it stands, without results: what dvc.lock lists, and the overview."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        raise PipelineError(f"{Path.cwd()}: expected a git repository: {os.fsdecode(listed.stderr).strip()}")
    results = [str(LOCK), *OVERVIEW, *(path for stage in read_lock().values() for path in outputs(stage))]
    for name in os.fsdecode(listed.stdout).split("\0"):
        if Path(name).is_file() and not any(lies_in(name, result) for result in results):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, to / name)


def representative(params: Params) -> list[str]:
    """A few architectures that together use every kind of layer."""
    kinds = {name: {layer.name for layer in each.layers} for name, each in params.architectures.items()}
    chosen: list[str] = []
    missing = set().union(*kinds.values())
    while missing:
        chosen.append(max(kinds, key=lambda name: len(kinds[name] & missing)))
        missing -= kinds[chosen[-1]]
    return chosen


def make_small(path: Path, targets: Sequence[str]) -> None:
    """Edits a params.yaml: the offline data, one epoch, the architectures that the targets name or a few."""
    params = load_params(path)
    named = {target.partition("@")[2] for target in targets} & set(params.architectures)
    yaml = YAML()
    content = yaml.load(path)
    content["data"]["sources"] = [{"dataset": "scikit-learn digits", "places": [EMBEDDED]}]
    for name in set(params.architectures) - (named or set(representative(params))):
        del content["architectures"][name]
    for architecture in content["architectures"].values():
        architecture["fit"]["epochs"] = 1
    yaml.dump(content, path)


def files(folder: Path) -> dict[str, Path]:
    """The files of a project by relative path, in the order in which they were written."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    relative = {str(path.relative_to(folder)): path for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)}
    return {name: path for name, path in relative.items() if Path(name).parts[0] not in NOT_COMPARED}


def compare(run: Run, kept: Path) -> int:
    """Prints each file in which a run differs from the first, causes before effects; returns their number."""
    differing = 0
    for name in files(kept) | files(run.project):
        lines = difference(kept / name, run.project / name, ("run 1", run.name))
        if lines:
            differing += 1
            print(f"{name}: {lines[0]}", *lines[1:], sep="\n    ")
    return differing


def draw_overview(run: Run, targets: Sequence[str]) -> None:
    """Draws the overview anew, unless only some stages are run."""
    if not targets:
        (run.project / PAGE).unlink(missing_ok=True)
        run.execute(["python", "-m", "tools.overview"])


def first_run(run: Run, targets: Sequence[str]) -> None:
    """Runs the project, checks that dvc.lock describes what it wrote, and commits it for clones."""
    run.execute(["git", "init", "--quiet"])
    run.execute(["dvc", "repro", *targets])
    draw_overview(run, targets)
    status = run.execute(["dvc", "status", *targets])
    if "up to date" not in status:
        raise PipelineError(f"{run.name}: {LOCK} does not describe the files that the run left:\n{status}")
    run.execute(["git", "add", "--all"])
    run.execute(["git", "-c", "user.name=verify", "-c", "user.email=", "commit", "--quiet", "--message", "run 1"])


def second_run(first: Run, targets: Sequence[str]) -> Run:
    """Runs the same folder again."""
    run = replace(first, name="run 2")
    run.execute(["dvc", "repro", "--force", *targets])
    draw_overview(run, targets)
    return run


def third_run(folder: Path, first: Run, targets: Sequence[str]) -> Run:
    """Runs a clone as another user and as `make repro` does, stages side by side."""
    run = another_user("run 3", folder)
    run.execute(["git", "init", "--quiet"])
    run.execute(["git", "pull", "--quiet", str(first.project)])
    run.execute(["python", "-m", "tools.repro", "--jobs", str(SIDE_BY_SIDE), *targets])
    return run


def verify(folder: Path, full: bool, targets: Sequence[str]) -> str:
    """Makes the three runs in an empty folder; returns a summary, or raises `PipelineError` if they differ."""
    first = plain_user("run 1", folder / "one")
    copy_project(first.project)
    sources = files(first.project)
    if not full:
        make_small(first.project / PARAMS_PATH, targets)
    first_run(first, targets)
    kept = folder / "kept"
    shutil.copytree(first.project, kept, ignore=shutil.ignore_patterns(*NOT_COMPARED))
    written = [path for name, path in files(kept).items() if name not in sources]
    summary = f"{len(written)} outputs, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB"
    print(f"run 1, dvc repro: {summary}")

    with ThreadPoolExecutor() as pool:
        second = pool.submit(second_run, first, targets)
        third = pool.submit(third_run, folder / "other", first, targets)
    differing = compare(second.result(), kept)
    print(f"run 2, dvc repro --force in the same folder: {_verdict(differing)}")
    differing_too = compare(third.result(), kept)
    print(f"run 3, a clone by another user, stages side by side on one core: {_verdict(differing_too)}")
    if differing or differing_too:
        raise PipelineError("reruns do not give the same bytes; the first file named above is the likeliest cause")
    return f"verified: 3 runs, {summary}: same bytes"


def _verdict(differing: int) -> str:
    return f"{differing} files differ" if differing else "same bytes"


@command
def main() -> None:
    """Proves that reruns give the same bytes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--full", action="store_true", help="params.yaml as it is, not a small configuration of it")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        print(verify(Path(folder), arguments.full, arguments.targets))


if __name__ == "__main__":
    main()
