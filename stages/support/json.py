"""Reads JSON with its shape checked, and with limits."""

import functools
import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.support.errors import PipelineError, one_line
from stages.support.notation import explain

MAX_BYTES = 16_000_000  # of a file; predictions for 10,000 images have 0.2 million
MAX_DEPTH = 50  # levels of nesting
T = TypeVar("T")
_adapter = functools.cache(TypeAdapter)  # as each takes milliseconds to make


def parse_json(content: bytes, name: str) -> Any:
    """Parses a JSON document.

    Raises `PipelineError`, which begins with `name`, if it is not valid JSON, if it holds a number that is not finite,
    or if it is larger or nested more deeply than any file of this project.
    """
    try:
        _check_size(content)
        value = json.loads(content, parse_constant=_refuse)
        _check_depth(value)
        return value
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise PipelineError(f"{name}: not valid JSON: {reason}") from error


def read_as(kind: type[T], content: bytes, name: str) -> T:
    """Parses a JSON document of a given type, as `parse_json`; the message for another type has the key's path."""
    try:
        _check_size(content)
        adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # classes are hashable
        return adapter.validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        invalid = first["type"] == "json_invalid"
        reason = f"not valid JSON: {first['ctx']['error']}" if invalid else explain(first)
        raise PipelineError(f"{name}: {reason}") from error
    except ValueError as error:
        raise PipelineError(f"{name}: {error}") from error


def _check_size(content: bytes) -> None:
    if len(content) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found {len(content):,}")


def _check_depth(value: Any, level: int = 0) -> None:
    if level > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                _check_depth(inner, level + 1)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")
