"""Reads JSON with its shape checked, and with limits."""

import functools
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from stages.support.errors import PipelineError, one_line
from stages.support.notation import explain

MAX_BYTES = 16_000_000  # of a file; predictions for 10,000 images have 0.2 million
T = TypeVar("T")
_adapter = functools.cache(TypeAdapter)  # as each takes milliseconds to make


def parse_json(content: bytes, name: str) -> Any:
    """Parses a JSON document.

    Raises `PipelineError`, which begins with `name`, if it is not valid JSON, if it holds a number that is not finite,
    or if it is larger than any file of this project, or nested more than 200 levels deep.
    """
    _check_size(content, name)
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise PipelineError(f"{name}: not valid JSON: {one_line(error)}") from error


def read_as(kind: type[T], content: bytes, name: str) -> T:
    """Parses a JSON document of a given type, as `parse_json`; the message for another type has the key's path."""
    _check_size(content, name)
    try:
        adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # classes are hashable
        return adapter.validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        invalid = first["type"] == "json_invalid"
        reason = f"not valid JSON: {first['ctx']['error']}" if invalid else explain(first)
        raise PipelineError(f"{name}: {reason}") from error


def _check_size(content: bytes, name: str) -> None:
    if len(content) > MAX_BYTES:
        raise PipelineError(f"{name}: expected at most {MAX_BYTES:,} bytes, found {len(content):,}")
