"""The classes in stages/models/custom.py, which params.yaml may name like Keras's own.

Names and arguments are read from the source, so that a check of params.yaml needs no TensorFlow.
"""

import ast
import functools
from pathlib import Path
from typing import Any

from stages.support.errors import CUSTOM, PipelineError

ROOT = Path(__file__).parents[2]
BASES = {"layer": "Layer", "loss": "Loss", "schedule": "LearningRateSchedule"}  # Keras's base class of each kind
TYPES = {
    "bool": "boolean",
    "float": "number",
    "int": "integer",
    "list": "array",
    "None": "null",
    "str": "string",
    "tuple": "array",
}
OBJECTS = ("activation", "constraint", "initializer", "regularizer")  # kinds of which arguments have the names
Schema = dict[str, Any]


@functools.cache
def classes() -> dict[str, ast.ClassDef]:
    """Returns all classes of the file, by name. Raises `PipelineError` if it is not valid Python."""
    try:
        tree = ast.parse((ROOT / CUSTOM).read_bytes())
    except FileNotFoundError:
        return {}
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise PipelineError(f"{CUSTOM}{where}: {error.msg if isinstance(error, SyntaxError) else error}") from error
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def custom_definitions(kind: str, keras: dict[str, Schema], integer: list[Schema]) -> dict[str, Schema]:
    """Returns the JSON Schema of the arguments of each class that extends a Keras layer, loss or schedule, by name.

    A class without `__init__` has the arguments of the one that it extends; one whose `__init__` takes `**kwargs` may
    be given them too.

    Args:
        kind: such as "layer".
        keras: the definitions of Keras's own objects of this kind.
        integer: what may stand for an integer, such as 'classes'.
    """
    if kind not in BASES:
        return {}
    known = keras | {BASES[kind]: _schema({}, [])}
    for name, node in classes().items():
        extended = next((known[base] for base in map(_name, node.bases) if base in known), None)
        if extended is not None:
            known[name] = _arguments(kind, node, extended, integer)
    return {name: known[name] for name in classes() if name in known}


def _name(base: ast.expr) -> str:
    """Returns the name of a base class without its module."""
    return ast.unparse(base).rpartition(".")[2]


def _arguments(kind: str, node: ast.ClassDef, extended: Schema, integer: list[Schema]) -> Schema:
    functions = (item for item in node.body if isinstance(item, ast.FunctionDef))
    init = next((function for function in functions if function.name == "__init__"), None)
    if init is None:
        return extended
    given = init.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    _, *parameters = zip([*positional, *given.kwonlyargs], defaults, strict=True)  # the first is `self`
    own = {argument.arg: {"anyOf": _choices(argument, integer)} for argument, _ in parameters}
    if "branches" in own:
        raise PipelineError(f"{CUSTOM}, line {init.lineno}: an argument named 'branches' holds layers; rename it")
    filled_in = {"decay_steps"} if kind == "schedule" else set()  # by the steps of the training
    required = [argument.arg for argument, value in parameters if value is None and argument.arg not in filled_in]
    return _schema((extended["properties"] if given.kwarg else {}) | own, required)


def _choices(argument: ast.arg, integer: list[Schema]) -> list[Schema]:
    """Returns the types that an argument may have, by its name or annotation; by default, all types."""
    for kind in OBJECTS:
        if argument.arg == kind or argument.arg.endswith(f"_{kind}"):
            return [{"$ref": f"#/$defs/{kind}"}, {"type": "null"}]
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    types = [TYPES.get(part.partition("[")[0].strip()) for part in annotation.split("|")]
    known = [{"type": name} for name in (TYPES.values() if None in types else types)]
    return known + (integer if {"type": "integer"} in known else [])


def _schema(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
