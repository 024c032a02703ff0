"""Compares the workspace's results with those of a git revision, by predictions (`make compare`).

On another processor the same params give weights whose last bits differ, and so another model file;
whether it matters shows in the predictions. All that is read is in git, so a clone without DVC's
cache will do.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from stages.errors import PipelineError, command
from stages.params import PARAMS_PATH
from tools.overview import DESCRIPTION

RESULTS = ("data", "metrics", "plots")
LISTED = 6  # file names in a line, at most
COLUMNS = "{:20}{:>17}{:>16}  {:17}{}"
HEADER = COLUMNS.format("architecture", "same prediction", "largest change", "accuracy", "verdict")

Reader = Callable[[str], bytes | None]  # path → content, None if there is no such file


def git(*arguments: str) -> bytes:
    """What a git command prints; raises `PipelineError` if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise PipelineError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def read_revision(revision: str, path: str) -> bytes | None:
    """A file's content at a git revision; the path counts from the current folder."""
    return git("show", f"{revision}:./{path}") if git("ls-tree", revision, path) else None


def read_workspace(path: str) -> bytes | None:
    """A file's content in the workspace."""
    return Path(path).read_bytes() if Path(path).is_file() else None


@dataclass(frozen=True)
class Predictions:
    """What evaluate recorded of the test images: three arrays (n,)."""

    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray

    @classmethod
    def parse(cls, content: bytes) -> "Predictions":
        """From plots/predictions/NAME.json."""
        columns = json.loads(content)
        return cls(*(np.array(columns[name]) for name in ("label", "prediction", "probability")))

    @property
    def accuracy(self) -> float:
        return float((self.label == self.prediction).mean())


def row(name: str, before: Predictions, after: Predictions, decimals: int) -> str:
    """One architecture's line; its largest change is that of the probability where the prediction is the same.

    Args:
        name: the architecture.
        before, after: its predictions.
        decimals: recorded of a probability; one unit of the last one counts as rounding.
    """
    accuracy = f"{before.accuracy:.4f} → {after.accuracy:.4f}"
    if not np.array_equal(before.label, after.label):
        return COLUMNS.format(name, "", "", accuracy, "other test images: not compared")
    count = len(before.label)
    agree = before.prediction == after.prediction
    change = np.abs(before.probability - after.probability)[agree].max(initial=0)
    if not agree.all():
        verdict = f"predictions differ on {count - agree.sum():,} of {count:,} images"
    elif not change:
        verdict = "same bytes"
    elif round(change, decimals) <= 10**-decimals:
        verdict = "same within rounding"
    else:
        verdict = "same predictions, other probabilities"
    return COLUMNS.format(name, f"{agree.sum():,} of {count:,}", f"{change:.{decimals}f}", accuracy, verdict)


def rows(before: Reader, after: Reader, base: str, names: list[str], decimals: int) -> Iterator[str]:
    """A line for each architecture, or one that says on which side it has no predictions."""
    for name in names:
        path = f"plots/predictions/{name}.json"
        old, new = before(path), after(path)
        if old is None or new is None:
            missing = " and ".join(side for side, content in ((base, old), ("the workspace", new)) if content is None)
            yield f"{name}: no predictions in {missing}"
        else:
            yield row(name, Predictions.parse(old), Predictions.parse(new), decimals)


def data_line(before: bytes | None, after: bytes | None) -> str:
    """Says whether the data set is the same, from data/raw/mnist.json on both sides."""
    old, new = (json.loads(content) if content else {} for content in (before, after))
    shown = [f"{side['dataset']} ({side['sha256'][:12]}…)" if side else "none" for side in (old, new)]
    same = old and old["sha256"] == new.get("sha256")
    return f"data set: {shown[0]}, the same arrays" if same else f"data set: differs: {shown[0]} → {shown[1]}"


def params_line(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Says which sections of params.yaml, and which architectures, differ."""
    flat = [
        {key: value for key, value in side.items() if key != "architectures"}
        | {f"architectures.{name}": value for name, value in side.get("architectures", {}).items()}
        for side in (before, after)
    ]
    differing = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    return f"params: {'differ: ' + ', '.join(differing) if differing else 'the same'}"


def files_line(base: str, before: Reader, after: Reader) -> str:
    """Says how many of the results in git are the same bytes, and names the same or the others, whichever are fewer."""
    paths = git("ls-tree", "-r", "--name-only", "-z", base, *RESULTS).decode().split("\0")[:-1]
    same = [path for path in paths if before(path) == after(path)]
    others = [path for path in paths if path not in same]
    few, kind = (same, "namely") if len(same) < len(others) else (others, "but not")
    names = ", ".join(few[:LISTED]) + (f" and {len(few) - LISTED} more" if len(few) > LISTED else "")
    return f"files: {len(same)} of {len(paths)} results in git are the same bytes" + (
        f", {kind} {names}" if few else ""
    )


def parse_params(content: bytes | None) -> dict[str, Any]:
    """params.yaml as it is, unchecked: that of a revision may follow another schema."""
    return YAML(typ="safe", pure=True).load(content.decode()) if content else {}


@command
def main() -> None:
    """Compares the workspace's results with those of a git revision."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("base", nargs="?", default="HEAD", help="a git revision; HEAD unless given")
    base = parser.parse_args().base
    try:
        git("rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}")
    except PipelineError as error:
        raise PipelineError(f"{base}: expected a git revision, such as main or HEAD~1 ({error})") from error

    def before(path: str) -> bytes | None:
        return read_revision(base, path)

    old, new = (parse_params(read(str(PARAMS_PATH))) for read in (before, read_workspace))
    names = sorted(old.get("architectures", {}) | new.get("architectures", {}))
    print(f"{base} → workspace")
    print(data_line(before(str(DESCRIPTION)), read_workspace(str(DESCRIPTION))))
    print(params_line(old, new))
    print(files_line(base, before, read_workspace))
    print(HEADER)
    decimals = min(side.get("evaluate", {}).get("decimals", 9) for side in (old, new))
    print(*rows(before, read_workspace, base, names, decimals), sep="\n")


if __name__ == "__main__":
    main()
