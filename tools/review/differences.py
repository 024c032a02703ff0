"""Lists what differs in the params and metrics of two revisions, as `dvc params diff` and `dvc metrics diff` do."""

import difflib
from dataclasses import dataclass
from typing import Any

from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH
from tools.common import results
from tools.common.predictions import architectures_of
from tools.common.revision import Revision

MAX_LENGTH = 200  # characters of a value, or items of a list, that are shown
MAX_DIFFERENCES = 500  # shown


@dataclass(frozen=True)
class ValueChange:
    """One param or metric; `None` where a side has none of that name."""

    path: str
    key: str
    old: Any
    new: Any

    @property
    def change(self) -> str:
        """New minus old if both are numbers, else empty."""
        return f"{self.new - self.old:+.6g}" if _is_number(self.old) and _is_number(self.new) else ""

    @property
    def lines(self) -> list[str]:
        """Lists the items of both sides, `- ` before old and `+ ` before new ones; empty unless a side is a list."""
        if not any(isinstance(value, list) for value in (self.old, self.new)):
            return []
        old, new = (_listed(value) for value in (self.old, self.new))
        compared = difflib.unified_diff(old, new, n=max(len(old), len(new)), lineterm="")
        return [f"{line[0]} {line[1:]}" for line in list(compared)[3:]]


def _listed(value: Any) -> list[str]:
    """Formats each item of a list in a line; a value that is no list as one item."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    more = [f"… and {len(items) - MAX_LENGTH:,} more"] if len(items) > MAX_LENGTH else []
    return [*map(_in_line, items[:MAX_LENGTH]), *more]


def _in_line(item: Any, nested: bool = False) -> str:
    """Formats a layer as params.yaml has it, in one line: `Dense: {units: 256, activation: relu}`."""
    if not isinstance(item, dict):
        return _shortened(item)
    text = _shortened(", ".join(f"{key}: {_in_line(value, nested=True)}" for key, value in item.items()))
    return f"{{{text}}}" if nested else text


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def _is_number(value: Any) -> bool:
    """Whether a value is a number of a sensible size, and not a bool."""
    return type(value) in (int, float) and abs(value) < 1e15


def params_differences(base: Revision, head: Revision) -> list[ValueChange]:
    """Lists the differences of params.yaml, by key, at most `MAX_DIFFERENCES`."""
    return _compared(str(PARAMS_PATH), _flat(base.params()), _flat(head.params()))[:MAX_DIFFERENCES]


def metrics_differences(base: Revision, head: Revision) -> tuple[list[ValueChange], list[str]]:
    """Lists the differences of metrics, by file and key, at most `MAX_DIFFERENCES`; and why files cannot be read."""
    changed, unreadable = [], []
    for path in sorted({str(results.metrics(name)) for side in (base, head) for name in architectures_of(side)}):
        try:
            changed += _compared(path, *(_numbers(side, path) for side in (base, head)))
        except PipelineError as error:
            unreadable.append(str(error))
    return changed[:MAX_DIFFERENCES], unreadable


def _numbers(side: Revision, path: str) -> dict[str, Any]:
    return {key: value for key, value in _flat(side.read_json(path)).items() if _is_number(value)}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested dictionaries: the values by their keys, joined by dots. Lists are values."""
    if not isinstance(value, dict):
        return {prefix: value} if prefix else {}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _compared(path: str, old: dict[str, Any], new: dict[str, Any]) -> list[ValueChange]:
    keys = sorted(key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key])
    return [ValueChange(path, _shortened(key), *(_shown(side.get(key)) for side in (old, new))) for key in keys]


def _shown(value: Any) -> Any:
    return _shortened(value) if isinstance(value, str) else value
