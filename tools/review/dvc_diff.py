"""What `dvc params diff` and `dvc metrics diff` tell, as data."""

import difflib
import json
import subprocess
from dataclasses import dataclass
from typing import Any

from stages.common.errors import PipelineError, one_line
from tools.common.revision import Revision


@dataclass(frozen=True)
class Difference:
    """One param or metric; `None` where a side has none of that name."""

    path: str
    key: str
    old: Any
    new: Any

    @property
    def change(self) -> str:
        """New minus old, if both are numbers."""
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (self.old, self.new))
        return f"{self.new - self.old:+.6g}" if numbers else ""

    @property
    def is_detail(self) -> bool:
        """Whether it is a figure of one class, or there is nothing to compare it with."""
        return self.key.startswith(("precision.", "recall.")) or None in (self.old, self.new)

    @property
    def lines(self) -> list[str]:
        """If a side is a list, such as the layers: its items, `- ` before an old, `+ ` before a new one."""
        if not any(isinstance(value, list) for value in (self.old, self.new)):
            return []
        old, new = ([_in_line(item) for item in value or []] for value in (self.old, self.new))
        return [line for line in difflib.ndiff(old, new) if not line.startswith("?")]


def _in_line(item: Any) -> str:
    """A layer as params.yaml would say it in one line: `Dense: {units: 256, activation: relu}`."""
    if isinstance(item, dict):
        return ", ".join(f"{key}: {_nested(value)}" for key, value in item.items())
    return str(item)


def _nested(value: Any) -> str:
    return f"{{{_in_line(value)}}}" if isinstance(value, dict) else str(value)


def differences(what: str, base: Revision, head: Revision) -> list[Difference]:
    """What `dvc WHAT diff` tells of "params" or "metrics" in two revisions, by path and key."""
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
    """A value as params.yaml has it, where DVC tells a list as text."""
    if not (isinstance(value, str) and value.startswith("[")):
        return value
    found = side.params()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, list) else value
