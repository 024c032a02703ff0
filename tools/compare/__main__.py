"""Compares the workspace's results with those of a git revision, by predictions (`make compare`).

On another kind of processor, the same params can give weights with other last bits, and so another
model file. The predictions show whether this matters. All files read are in git, so a clone without
DVC's cache is enough.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from stages.results.predictions import Predictions
from stages.support.errors import command
from tools.common.predictions import agreement, architectures_of, describe_difference, read_predictions
from tools.common.results import DESCRIPTION, IN_GIT
from tools.common.revision import WORKSPACE, Revision, git

LISTED = 6  # maximum number of file names in a line
COLUMNS = "{:20}{:>17}{:>16}  {:17}{}"
HEADER = COLUMNS.format("architecture", "same prediction", "largest change", "accuracy", "verdict")


def row(name: str, before: Predictions, after: Predictions, decimals: int) -> str:
    """The line of one architecture, all its seeds together.

    The largest change is that of the probability, where predictions agree.

    Args:
        name: the architecture.
        before, after: its predictions.
        decimals: decimals of recorded probabilities; a change by one unit of the last one counts as rounding.
    """
    accuracy = f"{before.accuracy:.4f} → {after.accuracy:.4f}"
    if before.seeds != after.seeds or not np.array_equal(before.label, after.label):
        return COLUMNS.format(name, "", "", accuracy, describe_difference(before, after, decimals))
    agree, change = agreement(before, after)
    same = f"{agree.sum():,} of {agree.size:,}"
    return COLUMNS.format(name, same, f"{change:.{decimals}f}", accuracy, describe_difference(before, after, decimals))


def rows(base: Revision, names: list[str], decimals: int) -> Iterator[str]:
    """One line per architecture; if predictions are missing, it says where."""
    for name in names:
        old, new = (read_predictions(side, name) for side in (base, WORKSPACE))
        if old is None or new is None:
            missing = " or ".join(str(side) for side, found in ((base, old), (WORKSPACE, new)) if found is None)
            yield f"{name}: no predictions in {missing}"
        else:
            yield row(name, old, new, decimals)


def data_line(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Whether the data set is the same, from data/raw/mnist.json on both sides, {} if missing."""
    shown = [f"{side['dataset']} ({side['sha256'][:12]}…)" if side else "none" for side in (old, new)]
    same = old and old["sha256"] == new.get("sha256")
    return f"data set: same, {shown[0]}" if same else f"data set: differs, {shown[0]} → {shown[1]}"


def params_line(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The sections of params.yaml that differ; of architectures, those that do."""
    flat = [
        {key: value for key, value in side.items() if key != "architectures"}
        | {f"architectures.{name}": value for name, value in (side.get("architectures") or {}).items()}
        for side in (before, after)
    ]
    differing = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    return f"params: {'differ in ' + ', '.join(differing) if differing else 'same'}"


def files_line(base: Revision) -> str:
    """How many results in git are identical; names the identical or the differing ones, whichever are fewer."""
    paths = git("ls-tree", "-r", "--name-only", "-z", base.commit, *map(str, IN_GIT)).decode().split("\0")[:-1]
    same = [path for path in paths if base.read(path) == WORKSPACE.read(path)]
    others = [path for path in paths if path not in same]
    few, kind = (same, ":") if len(same) < len(others) else (others, "; different:")
    names = ", ".join(few[:LISTED]) + (f" and {len(few) - LISTED} more" if len(few) > LISTED else "")
    return f"files: {len(same)} of {len(paths)} results in git are identical" + (f"{kind} {names}" if few else "")


@command
def main() -> None:
    """Compare the workspace's results with those of a git revision."""
    parser = argparse.ArgumentParser(prog="python -m tools.compare", description=main.__doc__)
    parser.add_argument("base", nargs="?", default="HEAD", help="a git revision (default: HEAD)")
    base = Revision.find(parser.parse_args().base)
    old, new = (side.params() for side in (base, WORKSPACE))
    names = sorted({*architectures_of(base), *architectures_of(WORKSPACE)})
    print(f"{base} → {WORKSPACE}")
    print(data_line(*(side.read_json(DESCRIPTION) or {} for side in (base, WORKSPACE))))
    print(params_line(old, new))
    print(files_line(base))
    print(HEADER)
    decimals = min(side.get("evaluate", {}).get("decimals", 9) for side in (old, new))
    print(*rows(base, names, decimals), sep="\n")


if __name__ == "__main__":
    main()
