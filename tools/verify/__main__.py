"""Proves that reruns give the same bytes, on other processors too (`make verify`).

Runs the project as it stands in the working tree, in temporary folders: once; again in the same folder, by `dvc repro
--force`; in another, by `make repro` as another user; and, by `dvc repro --force` in copies of the first, on emulated
processors of other makers, with other instruction sets and caches. Two runs go on at once. No run takes a result from
a cache. Then every file is compared byte for byte: outputs, overview, dvc.lock and sources.

The small configuration is that of `tools.verify.small`; emulated processors run one of its architectures. `--full`
takes params.yaml as it is, without emulated processors.
"""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from stages.common.kernels import why_not_portable
from stages.support.errors import PipelineError, command, named
from stages.support.params import Params, load_params
from tools.common.results import OVERVIEW
from tools.common.surroundings import QEMU, Run, another_processor, another_user, copy_project, plain_user
from tools.verify.differences import difference
from tools.verify.small import MIXED, make_small

SIDE_BY_SIDE = 4  # stages at once
AT_ONCE = 2  # runs
NOT_COMPARED = {".git", ".dvc"}
PROCESSORS = ("Haswell", "Skylake-Client", "EPYC-Rome")  # `qemu-x86_64 -cpu help` lists more
LIST_FONTS = [sys.executable, "-c", "import matplotlib.font_manager"]  # slow on an emulated processor
ANEW = ["dvc", "repro", "--force"]
OF_ONE = f"report@{MIXED}"


def files(folder: Path) -> list[str]:
    """Returns the files of a project in the order in which they were written."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    names = [path.relative_to(folder) for path in paths]
    return [str(name) for name in names if name.parts[0] not in NOT_COMPARED]


def compare(run: Run, kept: Path, label: str) -> int:
    """Prints each file in which a run differs from the first, causes before effects; returns their number."""
    differing = 0
    for name in dict.fromkeys([*files(kept), *files(run.project)]):
        if lines := difference(kept / name, run.project / name, ("run 1", run.name)):
            differing += 1
            print(f"{name}: {lines[0]}", *lines[1:], sep="\n    ")
    print(f"{run.name}, {label}: {f'{differing} files differ' if differing else 'same bytes'}")
    return differing


def start(run: Run, folders: Sequence[Path], *commands: Sequence[str]) -> Run:
    """Copies these folders into that of a run, the later over the earlier, and runs commands there."""
    for folder in folders:
        shutil.copytree(folder, run.project, dirs_exist_ok=True)
    for words in (["git", "init", "--quiet"], *commands):
        run.execute(words)
    return run


def why_not_emulated(full: bool, params: Params) -> str:
    """Returns why no other processors are emulated; an empty string if they are."""
    if full:
        return "with --full, an emulated run would take days"
    if why := why_not_portable(params.train.kernels):
        return f"{why}, so other processors give other bytes"
    if not shutil.which(QEMU):
        return f"no {QEMU} found; on Debian and Ubuntu: apt install qemu-user"
    return ""


def verify(folder: Path, full: bool, targets: Sequence[str], processors: Sequence[str]) -> str:
    """Runs the project in an empty folder and compares; returns a summary, or raises `PipelineError`."""
    sources, kept = folder / "sources", folder / "kept"
    overview = [] if targets else [["python", "-m", "tools.overview"]]
    copy_project(sources)
    if not full:
        make_small(sources, targets)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        first, other = plain_user("run 1", folder / "one"), another_user("run 3", folder / "other")
        starting = pool.submit(start, first, [sources], ["dvc", "repro", *targets], *overview)
        make_repro = ["python", "-m", "tools.repro", "--jobs", str(SIDE_BY_SIDE), *targets]
        third = pool.submit(start, other, [sources], make_repro)
        starting.result()
        shutil.copytree(first.project, kept, ignore=shutil.ignore_patterns(*NOT_COMPARED))
        written = [kept / name for name in files(kept) if not (sources / name).is_file()]
        summary = f"{len(written)} outputs, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB"
        print(f"run 1, dvc repro: {summary}")
        (first.project / OVERVIEW).unlink(missing_ok=True)  # else it is not drawn again
        second = pool.submit(start, replace(first, name="run 2"), [], [*ANEW, *targets], *overview)
        runs = {
            "dvc repro --force in the same folder": second,
            "by another user, stages side by side on one core": third,
        }
        for number, processor in enumerate(processors, start=4):
            run = another_processor(f"run {number}", folder / processor, processor)
            commands = [LIST_FONTS, [*ANEW, *(targets or [OF_ONE])]]
            runs[f"on an emulated {processor}"] = pool.submit(start, run, [sources, kept], *commands)
        differing = sum(compare(pending.result(), kept, label) for label, pending in runs.items())
    if differing:
        raise PipelineError("reruns do not give the same bytes; the first file named above is the likeliest cause")
    return f"verified: {1 + len(runs)} runs, {summary}: same bytes"


@command
def main() -> None:
    """Proves that reruns give the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify", description=main.__doc__)
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
