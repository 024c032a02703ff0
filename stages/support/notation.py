"""Sections of params.yaml with fixed keys, and one-line messages for values that are not valid."""

import difflib
import json
from collections.abc import Iterable
from types import NoneType
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

MAX_NAMES = 30  # in a message


class Section(BaseModel):
    """A mapping with fixed keys. Rejects unknown keys, values of another type, and infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, value: Any) -> Any:
        unknown = [key for key in value if key not in cls.model_fields] if isinstance(value, dict) else []
        if unknown:
            context = {"key": str(unknown[0]), "known": sorted(cls.model_fields)}
            raise PydanticCustomError("unknown_key", "unknown key '{key}'", context)
        return value


def located(where: str, message: str) -> PydanticCustomError:
    """Returns the error for a mistake at a key or index below the one that is checked."""
    return PydanticCustomError("located", "{message}", {"where": where, "message": message})


def explain(error: ErrorDetails) -> str:
    """Writes a pydantic error as one line: path, expected, found, closest valid name."""
    context, location = error.get("ctx", {}), error["loc"]
    is_key = location[-1:] == ("[key]",)
    if is_key:
        location = (*location[:-2], _shortened(str(error["input"])))
    path, found = _path(location), found_value(error["input"])
    match error["type"]:
        case "unknown_key":
            key, known = context["key"], context["known"]
            return f"{_join(path, key)}: unknown key{nearest(key, known)}"
        case "located":
            return f"{_join(path, context['where'].removeprefix('.'))}: {context['message']}"
        case "missing":
            return f"{path}: required key is missing"
        case "literal_error":
            known = [name.strip("'") for name in context["expected"].replace(" or ", ", ").split(", ")]
            return f"{path}: found {found}{nearest(str(error['input']), known)}"
        case "string_type" if not isinstance(error["input"], (dict, list, NoneType)):
            return f"{path}: expected text, found the {type(error['input']).__name__} {found}; put it in quotes"
        case "string_pattern_mismatch" if is_key:
            name = "at most 64 letters, digits, _ and -, starting with a letter or digit"
            return f"{path}: expected a name of {name}, found {found}"
        case "model_type" | "dict_type":
            return f"{path}: expected a mapping of keys to values, found {found}"
        case "too_short":
            return f"{path}: expected at least {context['min_length']} item, found {found}"
    expected = error["msg"]
    for theirs, ours in (("Input should be a", "a"), ("Input should be", "a value"), ("String should", "text to")):
        expected = expected.replace(theirs, ours)
    return f"{path}: expected {expected}, found {found}"


def _path(location: tuple[int | str, ...]) -> str:
    """Joins keys and indices: `architectures.cnn.layers[1]`."""
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path or "the file"


def _join(path: str, key: str) -> str:
    """Adds a key to a path, or an index, which begins with `[`."""
    if path in ("", "the file"):
        return key
    return f"{path}{key}" if key.startswith("[") or not key else f"{path}.{key}"


def found_value(value: Any) -> str:
    """Writes a value as JSON, cut if it is long; as Python does if JSON cannot, as for a date that is a key."""
    try:
        return _shortened(json.dumps(value, default=str))
    except TypeError:
        return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggests a known name for an unknown one: the closest match, all names if there are few, or the three closest."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    if len(known) > MAX_NAMES:
        return f"; the closest are {', '.join(difflib.get_close_matches(name, known, n=3, cutoff=0))}"
    return f"; expected one of {', '.join(known)}"
