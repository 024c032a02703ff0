"""Resolves dvc.yaml: the stages that its templates stand for, as data. Runs nothing, and reads no other file.

Understands the part of DVC's notation that this project uses (https://dvc.org/doc/user-guide/project-structure/dvcyaml-files):
`foreach`, `matrix` and `${…}` with values of params.yaml. tests/test_definitions.py compares it with DVC.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from stages.support.errors import PipelineError

REFERENCE = re.compile(r"\$\{\s*([^{}]+?)\s*\}")
KEYS = {"cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta", "always_changed", "frozen"}
MAX_STAGES = 30_000
MAX_TEXT = 4000  # characters of a command, a path, or a value in one of them
MAX_CHARACTERS = 100_000_000  # of all stages together


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml.

    Attributes:
        cmd: its command.
        deps, outs: paths that it reads and writes.
        in_git: those of `outs` that git has, and DVC's cache has not.
        params: keys of params.yaml that it depends on.
    """

    cmd: str
    deps: list[str]
    outs: list[str]
    in_git: set[str]
    params: list[str]


def stages(definition: dict[str, Any], params: dict[str, Any], where: str) -> dict[str, Stage]:
    """Resolves the stages, by name, such as `train@cnn`.

    Args:
        definition: the content of dvc.yaml.
        params: the content of params.yaml.
        where: the name of dvc.yaml in messages.

    Raises `PipelineError` if dvc.yaml is not valid, or uses more of DVC's notation than this knows.
    """
    resolved: dict[str, Stage] = {}
    length = 0
    name = "stages"
    try:
        for name, entry in definition["stages"].items():
            for suffix, template, context in _expanded(entry, params):
                stage = _stage(template, context)
                length += sum(map(len, [stage.cmd, *stage.deps, *stage.outs, *stage.params]))
                if len(resolved) == MAX_STAGES or length > MAX_CHARACTERS:
                    raise PipelineError(f"{where}: expected at most {MAX_STAGES:,} stages, found more, or longer ones")
                resolved[f"{name}{suffix}"] = stage
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise PipelineError(f"{where}: stages.{name}: not understood: {error}"[:300]) from error
    return resolved


def _expanded(entry: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yields the suffix of each stage's name, its template, and the values for the template."""
    if "foreach" in entry:
        values = _value(entry["foreach"], params)
        items = values.items() if isinstance(values, dict) else ((_text(value), value) for value in values)
        for key, item in items:
            yield f"@{key}", entry["do"], {**params, "key": key, "item": item}
    elif "matrix" in entry:
        axes = {name: list(_value(values, params)) for name, values in entry["matrix"].items()}
        template = {key: value for key, value in entry.items() if key != "matrix"}
        for chosen in islice(product(*axes.values()), MAX_STAGES + 1):
            item = dict(zip(axes, chosen, strict=True))
            yield "@" + "-".join(map(_text, chosen)), template, {**params, "item": item}
    else:
        yield "", entry, params


def _stage(template: dict[str, Any], context: dict[str, Any]) -> Stage:
    if unknown := set(template) - KEYS:
        raise ValueError(f"the key {sorted(map(str, unknown))[0]!r} is not known here")
    outs, in_git = [], set()
    for out in (item for kind in ("outs", "metrics", "plots") for item in template.get(kind, ())):
        path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
        outs.append(_filled(path, context))
        if not (options or {}).get("cache", True):
            in_git.add(outs[-1])
    deps, params = ([_filled(text, context) for text in template.get(key, ())] for key in ("deps", "params"))
    return Stage(_filled(template["cmd"], context), deps, outs, in_git, params)


def _value(template: Any, context: dict[str, Any]) -> Any:
    """Replaces a reference, such as `${architectures}`, by its value; other values stay."""
    reference = REFERENCE.fullmatch(template) if isinstance(template, str) else None
    return lookup(context, reference[1]) if reference else template


def _filled(template: str, context: dict[str, Any]) -> str:
    """Fills the values of its references into a text."""
    text = REFERENCE.sub(lambda match: _text(lookup(context, match[1])), template)
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected commands and paths of at most {MAX_TEXT:,} characters, found {len(text):,}")
    return text


def lookup(values: Any, path: str) -> Any:
    """Looks up the value at a path such as `train.seeds[0]`; raises `KeyError` or `IndexError` if there is none."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(values, list):
            values = values[int(part)]
        elif isinstance(values, dict) and part in values:
            values = values[part]
        else:
            raise KeyError(path)
    return values


def _text(value: Any) -> str:
    """Formats a value as DVC writes it into a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected text or a number to fill in, found {type(value).__name__}")
    if len(text := str(value)) > MAX_TEXT:
        raise ValueError(f"expected text of at most {MAX_TEXT:,} characters to fill in, found {len(text):,}")
    return text
