"""Proves that reruns give the same bytes, on other processors too (`make verify`).

Runs the project as it stands in the working tree, in temporary folders:

1. a first run;
2. the same folder again, `dvc repro --force`;
3. another folder, as another user (see `tools.common.surroundings`), as `make repro` runs it: stages side by side;
4. and on: other processors, emulated by qemu-user: of other makers, with other instruction sets and caches. They run
   the commands that run 1 recorded in dvc.lock (see `tools.verify.stages`).

Two runs go on at once. No run finds a cached result: each has an empty cache of its own or is forced. Then every
file of the project is compared byte for byte: outputs, overview, dvc.lock and sources. The small configuration
(`tools.verify.small`) takes a few hundred of the embedded offline digits, one epoch, one seed, a few architectures that
together use every kind of Keras object in params.yaml, and one that mixes more of them, which is the one that emulated
processors run. `--full` takes params.yaml as it is, without emulated processors.
"""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.common.kernels import why_not_portable
from stages.support.errors import PipelineError, command, named
from stages.support.params import Params, load_params
from tools.common.lock import LOCK, digests, read_lock
from tools.common.results import OVERVIEW
from tools.common.surroundings import (
    QEMU,
    Run,
    another_processor,
    another_user,
    copy_project,
    plain_user,
)
from tools.verify.differences import difference
from tools.verify.small import MIXED, make_small

SIDE_BY_SIDE = 4  # stages at once
AT_ONCE = 2  # runs
NOT_COMPARED = {".git", ".dvc"}
PROCESSORS = ("Haswell", "Skylake-Client", "EPYC-Rome")  # `qemu-x86_64 -cpu help` lists more


def files(folder: Path) -> dict[str, Path]:
    """Returns the files of a project by relative path, in the order in which they were written."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    relative = {str(path.relative_to(folder)): path for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)}
    return {name: path for name, path in relative.items() if Path(name).parts[0] not in NOT_COMPARED}


def print_differences(run: Run, kept: Path, expected: Iterable[str]) -> int:
    """Prints each file in which a run differs from the first, causes before effects; returns their number.

    Compares the files of the run, and those that are expected of it: a run of some stages does not have all.
    """
    differing = 0
    for name in dict.fromkeys([*expected, *files(run.project)]):
        lines = difference(kept / name, run.project / name, ("run 1", run.name))
        if lines:
            differing += 1
            print(f"{name}: {lines[0]}", *lines[1:], sep="\n    ")
    return differing


def draw_overview(run: Run, targets: Sequence[str]) -> None:
    """Draws the overview anew, unless only some stages run."""
    if not targets:
        (run.project / OVERVIEW).unlink(missing_ok=True)
        run.execute(["python", "-m", "tools.overview"])


def start(run: Run, sources: Path) -> Run:
    """Gives a run the project, without any result."""
    shutil.copytree(sources, run.project, dirs_exist_ok=True)
    run.execute(["git", "init", "--quiet"])
    return run


def first_run(folder: Path, sources: Path, targets: Sequence[str]) -> Run:
    """Runs the project, and checks that dvc.lock describes what it wrote."""
    run = start(plain_user("run 1", folder), sources)
    run.execute(["dvc", "repro", *targets])
    draw_overview(run, targets)
    status = run.execute(["dvc", "status", *targets])
    if "up to date" not in status:
        print(status, file=sys.stderr)
        raise PipelineError(f"{run.name}: {LOCK} does not describe the files that the run left; see above")
    return run


def second_run(first: Run, targets: Sequence[str]) -> Run:
    """Runs the same folder again."""
    run = replace(first, name="run 2")
    run.execute(["dvc", "repro", "--force", *targets])
    draw_overview(run, targets)
    return run


def third_run(folder: Path, sources: Path, targets: Sequence[str]) -> Run:
    """Runs the project as another user and as `make repro` does, stages side by side."""
    run = start(another_user("run 3", folder), sources)
    run.execute(["python", "-m", "tools.repro", "--jobs", str(SIDE_BY_SIDE), *targets])
    return run


def emulated_run(name: str, folder: Path, sources: Path, processor: str, commands: Sequence[str]) -> Run:
    """Runs the commands of stages on another processor, emulated."""
    run = start(another_processor(name, folder, processor), sources)
    replace(run, commands=()).execute(["python", "-c", "import matplotlib.font_manager"])  # lists the fonts: slow there
    run.execute(["python", "-m", "tools.verify.stages", *commands])
    return run


def emulated_stages(project: Path, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Reads the stages that emulated processors run in a run's dvc.lock: of one architecture, or those of targets."""
    entries = read_lock(project / LOCK).items()
    return [entry for name, entry in entries if targets or name.partition("@")[2] in ("", MIXED)]


def why_not_emulated(full: bool, params: Params) -> str:
    """Returns why no other processors are emulated; an empty string if they are."""
    if full:
        return "with --full, an emulated run would take days"
    if why := why_not_portable(params.train.kernels):
        return f"{why}, so other processors give other bytes"
    if not shutil.which(QEMU):
        return f"no {QEMU} found; on Debian and Ubuntu: apt install qemu-user"
    return ""


def compare(runs: dict[str, Future[Run]], kept: Path, emulated: Sequence[str]) -> int:
    """Waits for the runs and prints how each differs from the first; returns the number of files that differ.

    An emulated processor writes only these paths.
    """
    differing = 0
    for label, pending in runs.items():
        run = pending.result()
        expected: Iterable[str] = files(kept)
        if run.commands:  # an emulated processor
            expected = [name for name in expected if any(Path(name).is_relative_to(path) for path in emulated)]
        count = print_differences(run, kept, expected)
        print(f"{label}: {f'{count} files differ' if count else 'same bytes'}")
        differing += count
    return differing


def verify(folder: Path, full: bool, targets: Sequence[str], processors: Sequence[str]) -> str:
    """Runs the project in an empty folder and compares; returns a summary, or raises `PipelineError`."""
    sources = folder / "sources"
    copy_project(sources)
    if not full:
        make_small(sources, targets)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        starting = pool.submit(first_run, folder / "one", sources, targets)
        third = pool.submit(third_run, folder / "other", sources, targets)
        first, kept = starting.result(), folder / "kept"
        shutil.copytree(first.project, kept, ignore=shutil.ignore_patterns(*NOT_COMPARED))
        written = [path for name, path in files(kept).items() if name not in files(sources)]
        summary = f"{len(written)} outputs, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB"
        print(f"run 1, dvc repro: {summary}")
        runs = {
            "run 2, dvc repro --force in the same folder": pool.submit(second_run, first, targets),
            "run 3, by another user, stages side by side on one core": third,
        }
        stages = emulated_stages(kept, targets)
        commands = [stage["cmd"] for stage in stages]
        for number, processor in enumerate(processors, start=4):
            run = pool.submit(emulated_run, f"run {number}", folder / processor, sources, processor, commands)
            runs[f"run {number}, on an emulated {processor}"] = run
        differing = compare(runs, kept, [path for stage in stages for path in digests(stage, "outs")])
    if differing:
        raise PipelineError("reruns do not give the same bytes; the first file named above is the likeliest cause")
    return f"verified: {1 + len(runs)} runs, {summary}: same bytes"


@command
def main() -> None:
    """Proves that reruns give the same bytes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--full", action="store_true", help="run params.yaml as it is, not a small configuration")
    listed = f"emulate this processor, not {', '.join(PROCESSORS)}; may be repeated"
    parser.add_argument("--processor", action="append", metavar="NAME", help=listed)
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run only these stages and what they need")
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    left_out = why_not_emulated(arguments.full, load_params())
    with tempfile.TemporaryDirectory(prefix="verify-") as folder, named(Path(folder), "the copy"):
        processors = [] if left_out else arguments.processor or PROCESSORS
        print(verify(Path(folder), arguments.full, arguments.targets, processors))
    if left_out:
        print(f"left out: other processors; {left_out}")


if __name__ == "__main__":
    main()
