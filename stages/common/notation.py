"""The notation of params.yaml: sections with fixed keys, and Keras objects by name.

A Keras object (a layer, an optimizer, a loss) is written as its class name, or as `{name: keyword arguments}`:

    - Flatten
    - Dense: {units: 256, activation: relu}

`one_of(Base)` is the pydantic type of any named subclass of `Base`. `explain` turns a validation
error into a one-line message.
"""

import difflib
import json
from collections.abc import Iterable
from types import NoneType
from typing import Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Discriminator, GetJsonSchemaHandler, Tag, model_validator
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError


class Section(BaseModel):
    """A mapping with fixed keys. Rejects unknown keys, values of another type, and infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, value: Any) -> Any:
        value = cls._unwrap(value)
        unknown = [key for key in value if key not in cls.model_fields] if isinstance(value, dict) else []
        if unknown:
            context = {"key": str(unknown[0]), "known": sorted(cls.model_fields)}
            raise PydanticCustomError("unknown_key", "unknown key '{key}'", context)
        return value

    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        return value


class Named(Section):
    """A Keras object as written in params.yaml. Each subclass has the name of its Keras class."""

    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if value == cls.__name__:
            return {}
        return value[cls.__name__] or {}

    @property
    def name(self) -> str:
        """The name of the Keras class."""
        return type(self).__name__

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for the Keras class; only those that params.yaml sets."""
        return self.model_dump(exclude_unset=True)


def by_name(base: type[Named]) -> dict[str, type[Named]]:
    """Subclasses of `base`, at any depth, by name. Names with a leading underscore are base classes and left out."""
    found: dict[str, type[Named]] = {}
    for subclass in base.__subclasses__():
        if not subclass.__name__.startswith("_"):
            found[subclass.__name__] = subclass
        found |= by_name(subclass)
    return dict(sorted(found.items()))


def one_of(base: type[Named]) -> Any:
    """The pydantic type of a subclass of `base`, written as a name or `{name: arguments}`."""
    members = [Annotated[cls, Tag(name)] for name, cls in by_name(base).items()]
    return Annotated[Union[tuple(members)], Discriminator(_name_of), _NamedSchema(base)]  # noqa: UP007


def _name_of(value: Any) -> str | None:
    if isinstance(value, Named):
        return value.name
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value))
    return value if isinstance(value, str) else None


class _NamedSchema:
    """Changes pydantic's JSON Schema of the union to the notation of params.yaml."""

    def __init__(self, base: type[Named]) -> None:
        self.base = base

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        table = by_name(self.base)
        bare = [name for name, cls in table.items() if not any(f.is_required() for f in cls.model_fields.values())]
        with_arguments = [
            {
                "type": "object",
                "properties": {name: handler(cls.__pydantic_core_schema__)},
                "required": [name],
                "additionalProperties": False,
            }
            for name, cls in table.items()
        ]
        return {"anyOf": [{"enum": bare}, *with_arguments]}


def explain(error: ErrorDetails) -> str:
    """A pydantic error as one line: path, expected, found, closest valid name."""
    context, location = error.get("ctx", {}), error["loc"]
    is_key = location[-1:] == ("[key]",)
    if is_key:
        location = (*location[:-2], _shortened(str(error["input"])))
    path, found = _path(location), _found(error["input"])
    match error["type"]:
        case "unknown_key":
            key, known = context["key"], context["known"]
            return f"{_join(path, key)}: unknown key{nearest(key, known)}"
        case "located":
            return f"{_join(path, context['where'])}: {context['message']}"
        case "union_tag_invalid":
            known = [name.strip("'") for name in context["expected_tags"].split(", ")]
            return f"{path}: unknown name '{context['tag']}'{nearest(context['tag'], known)}"
        case "union_tag_not_found":
            return f"{path}: expected a name or {{name: {{argument: value}}}}, found {found}"
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
    for pydantics, ours in (
        ("Input should be a", "a"),
        ("Input should be", "a value"),
        ("String should", "text to"),
    ):
        expected = expected.replace(pydantics, ours)
    return f"{path}: expected {expected}, found {found}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path or "the file"


def _join(path: str, key: str) -> str:
    """Adds a key to a path, or an index, which begins with `[`."""
    if path in ("", "the file"):
        return key
    return f"{path}{key}" if key.startswith("[") or not key else f"{path}.{key}"


def _found(value: Any) -> str:
    return _shortened(json.dumps(value, default=str))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the closest known name, or a list of all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; expected one of {', '.join(known)}"
