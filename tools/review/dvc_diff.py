"""Reads what `dvc params diff` and `dvc metrics diff` print."""

import difflib
import json
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from stages.common.errors import PipelineError, one_line
from tools.common.revision import Revision

LISTED = 4  # files named in a line, at most


@dataclass(frozen=True)
class Difference:
    """One param or metric; `None` where a side has none of that name."""

    path: str
    key: str
    old: Any
    new: Any

    @property
    def change(self) -> str:
        """New minus old if both are numbers, else empty."""
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (self.old, self.new))
        return f"{self.new - self.old:+.6g}" if numbers else ""

    @property
    def in_both(self) -> bool:
        """Whether both sides have it."""
        return None not in (self.old, self.new)

    @property
    def of_a_class(self) -> bool:
        """Whether it is a figure of one class: in earlier versions, metrics had recall and precision of each."""
        return self.key.startswith(("precision.", "recall."))

    @property
    def lines(self) -> list[str]:
        """The items of both sides, with `- ` before old and `+ ` before new ones; empty unless a side is a list."""
        if not any(isinstance(value, list) for value in (self.old, self.new)):
            return []
        old, new = ([_in_line(item) for item in value or []] for value in (self.old, self.new))
        return [line for line in difflib.ndiff(old, new) if not line.startswith("?")]


def _in_line(item: Any) -> str:
    """Formats a layer as params.yaml has it, in one line: `Dense: {units: 256, activation: relu}`."""
    if isinstance(item, dict):
        return ", ".join(f"{key}: {_nested(value)}" for key, value in item.items())
    return str(item)


def _nested(value: Any) -> str:
    return f"{{{_in_line(value)}}}" if isinstance(value, dict) else str(value)


def differences(what: str, base: Revision, head: Revision) -> list[Difference]:
    """Lists what differs in the "params" or "metrics" of two revisions, by path and key, as `dvc WHAT diff` has it."""
    revisions = [side.commit for side in (base, head) if side.commit]
    done = subprocess.run(["dvc", what, "diff", "--json", *revisions], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"dvc {what} diff {base} {head}: {one_line(done.stderr)}")
    return [
        Difference(path, key, *(_whole(key, values.get(age), side) for age, side in (("old", base), ("new", head))))
        for path, keys in sorted(json.loads(done.stdout or "{}").items())
        for key, values in sorted(keys.items())
    ]


def _whole(key: str, value: Any, side: Revision) -> Any:
    """Returns the list that params.yaml has, in place of the text that DVC gives for it; other values as they are."""
    if not (isinstance(value, str) and value.startswith("[")):
        return value
    found = side.params()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, list) else value


def on_one_side(metrics: list[Difference]) -> list[str]:
    """Says which metrics only one side has, a line for each set of them and its files."""
    keys: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for item in metrics:
        if not item.in_both:
            side = "base" if item.new is None else "now"
            keys[side, item.path][item.key.partition(".")[0]] = None
    files = defaultdict(list)
    for (side, path), found in keys.items():
        files[side, ", ".join(found)].append(path)
    return [
        f"Only in {side}: {found} ({f'{len(paths)} files' if len(paths) > LISTED else ', '.join(paths)})"
        for (side, found), paths in files.items()
    ]
