"""Resolves dvc.yaml: the stages that its templates stand for, as data. Runs nothing, and reads no other file.

Understands the part of DVC's notation that this project uses: `foreach`, and `${…}` with values of params.yaml. DVC's
own resolver has no limits, so that a stranger's file could take hours or all memory. tests/test_definitions.py compares
the two.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from stages.support.errors import PipelineError, unreadable

REFERENCE = re.compile(r"\$\{\s*([^{}]+?)\s*\}")
KEYS = {"cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta", "always_changed", "frozen"}
MAX_STAGES = 30_000
MAX_TEXT = 4000  # characters of a command, a path, or a value in one of them
MAX_CHARACTERS = 100_000_000  # of all stages together


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml: its command, the paths that it reads and writes, and the keys of params.yaml.

    `in_git` are those of `outs` that git has, and DVC's cache has not.
    """

    cmd: str
    deps: list[str]
    outs: list[str]
    in_git: set[str]
    params: list[str]


def stages(definition: dict[str, Any], params: dict[str, Any], where: str) -> dict[str, Stage]:
    """Resolves the stages, by name, such as `train@cnn`, from the content of dvc.yaml and params.yaml.

    Raises `PipelineError`, which begins with `where`, if dvc.yaml is not valid, or uses more of DVC's notation.
    """
    resolved: dict[str, Stage] = {}
    length = 0
    if not definition:
        raise PipelineError(f"{where}: expected stages, found no file, or an empty one")
    with unreadable(where, "stages by name"):
        entries = definition["stages"].items()
    for name, entry in entries:
        with unreadable(f"{where}: stages.{name}", "a stage as this project writes it"):
            for suffix, stage in _expanded(entry, params):
                length += sum(map(len, [stage.cmd, *stage.deps, *stage.outs, *stage.params]))
                if len(resolved) == MAX_STAGES or length > MAX_CHARACTERS:
                    raise ValueError(f"expected at most {MAX_STAGES:,} stages, found more, or longer ones")
                resolved[f"{name}{suffix}"] = stage
    return resolved


def _expanded(entry: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, Stage]]:
    """Yields the stages that an entry stands for, each with the end of its name."""
    if "foreach" not in entry:
        yield "", _stage(entry, params)
        return
    if not (reference := REFERENCE.fullmatch(entry["foreach"])):
        raise ValueError("foreach: expected ${…} alone")
    for key, item in lookup(params, reference[1]).items():
        yield f"@{key}", _stage(entry["do"], ChainMap({"key": key, "item": item}, params))


def _stage(template: dict[str, Any], values: MutableMapping[str, Any]) -> Stage:
    if unknown := set(template) - KEYS:
        raise ValueError(f"the key {sorted(map(str, unknown))[0]!r} is not known here")
    outs, in_git = [], set()
    for out in (item for kind in ("outs", "metrics", "plots") for item in template.get(kind, ())):
        path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
        outs.append(_filled(path, values))
        if not (options or {}).get("cache", True):
            in_git.add(outs[-1])
    deps, params = ([_filled(text, values) for text in template.get(key, ())] for key in ("deps", "params"))
    return Stage(_filled(template["cmd"], values), deps, outs, in_git, params)


def _filled(template: str, values: MutableMapping[str, Any]) -> str:
    """Fills the values of its references into a text."""
    return _short(REFERENCE.sub(lambda match: _text(lookup(values, match[1])), _short(template)))


def lookup(values: Any, path: str) -> Any:
    """Looks up the value at a path such as `train.seeds[0]`; raises `LookupError` if there is none."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(values, list) and part.isdecimal():
            values = values[int(part)]
        elif isinstance(values, MutableMapping) and part in values:
            values = values[part]
        else:
            raise KeyError(path)
    return values


def _text(value: Any) -> str:
    """Formats a value as DVC writes it into a text."""
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected text or a number to fill in, found {type(value).__name__}")
    return _short(str(value).lower() if isinstance(value, bool) else str(value))


def _short(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected commands and paths of at most {MAX_TEXT:,} characters, found {len(text):,}")
    return text
