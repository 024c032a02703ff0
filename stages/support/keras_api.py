"""Keras objects as data: layers, optimizers, losses and what these take, as written in params.yaml.

An object is written as its Keras name, or as `{name: {argument: value}}`. Arguments may be objects themselves:

    - Flatten
    - Dense: {units: 256, activation: relu, kernel_regularizer: {L2: {l2: 1e-4}}}

Names, arguments, types and defaults are Keras's own (https://keras.io/api/): `make schema` reads them from the
installed Keras and writes them to stages/params.schema.json, which is read here, so that a check needs no TensorFlow.
"""

import ast
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_core import CoreSchema, core_schema

from stages.support.custom_api import classes, custom_definitions
from stages.support.errors import CUSTOM, PipelineError
from stages.support.notation import found_value, located, nearest

Kind = Literal["layer", "optimizer", "loss", "schedule", "initializer", "regularizer", "constraint", "activation"]
SCHEMA_PATH = Path(__file__).parents[1] / "params.schema.json"
CLASSES = "classes"  # in place of a number of units: the number of classes in the data
EPOCHS = re.compile(r"(\d+(?:\.\d+)?) epochs?")  # in place of a number of steps
INTEGER: dict[str, list[dict[str, Any]]] = {  # what may stand for an integer
    "layer": [{"enum": [CLASSES]}],
    "schedule": [{"type": "string", "pattern": EPOCHS.pattern}],
}
TYPES: dict[str, Any] = {"integer": int, "number": (int, float), "string": str, "array": list, "null": type(None)}
BRANCHES = "branches"  # the argument of a layer that merges: lists of layers, each applied to the same input

# What Keras has and params.yaml does not: reasons, and the names of classes and functions
_REASONS = {
    "it runs code, which is not data": "Lambda FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    "it takes several inputs": "AdditiveAttention Attention Dot GroupQueryAttention MultiHeadAttention",
    "it wraps other layers, whose operations may not be portable; write the layers themselves": "Bidirectional GRUCell "
    "LSTMCell LossScaleOptimizer MultiOptimizer Pipeline RNN SimpleRNNCell SpectralNormalization StackedRNNCells "
    "TimeDistributed Wrapper",
    "it does not take images as numbers": "CategoryEncoding Discretization Embedding HashedCrossing Hashing InputLayer "
    "IntegerLookup Masking MelSpectrogram ReversibleEmbedding STFT STFTSpectrogram StringLookup TextVectorization",
    "it changes labels together with images": "CutMix MixUp MaxNumBoundingBoxes",
    "labels are one-hot here; use CategoricalCrossentropy": "CategoricalGeneralizedCrossEntropy Circle CTC "
    "SparseCategoricalCrossentropy",
    "in batches of any size, Keras puts the first image, distorted, in place of others": "RandomElasticTransform",
    "Keras saves a model with it, but cannot load it again": "RandomShear",
    "Keras does not make it a part of the model": "Equalization",
    "Keras crops in training, but not when it predicts": "RandomCrop",
    "it halves the number of units": "glu",
}
REFUSED = {name: reason for reason, names in _REASONS.items() for name in names.split()}
# What Keras computes with TensorFlow's approximate 1/x (the gradient of a logarithm) or 1/√x, which differ between
# processors; research/operations found these
NOT_PORTABLE: dict[Kind, tuple[str, ...]] = {
    "loss": (
        "BinaryCrossentropy",
        "BinaryFocalCrossentropy",
        "CategoricalFocalCrossentropy",
        "CosineSimilarity",
        "KLDivergence",
        "MeanSquaredLogarithmicError",
        "Poisson",
    ),
}


@dataclass(frozen=True)
class KerasObject:
    """An object of Keras as data: its kind, its name, and the arguments that params.yaml sets."""

    kind: Kind
    name: str
    arguments: dict[str, Any]

    def walk(self, where: str = "") -> Iterator[tuple[str, "KerasObject"]]:
        """Yields this object and all within it, each with its path from here, such as `.kernel_regularizer.L2`."""
        yield where, self
        for key, value in self.arguments.items():
            for below, inner in _inner(value):
                yield from inner.walk(f"{where}.{key}{below}")


def _inner(value: Any) -> Iterator[tuple[str, KerasObject]]:
    if isinstance(value, KerasObject):
        yield f".{value.name}", value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for below, inner in _inner(item):
                yield f"[{index}]{below}", inner


@dataclass(frozen=True)
class OneOf:
    """Marks a field as a Keras object of some kind, for pydantic."""

    kind: Kind

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        by_name = core_schema.plain_serializer_function_ser_schema(lambda keras_object: keras_object.name)
        return core_schema.no_info_plain_validator_function(
            lambda value: keras_object(self.kind, value), serialization=by_name
        )

    def __get_pydantic_json_schema__(self, *_: object) -> dict[str, Any]:
        return {"keras": self.kind}  # `make schema` puts a reference in its place


@functools.cache
def definitions(kind: Kind) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of the arguments of each of Keras's own objects of a kind, by name."""
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))["$defs"]
    return {key.removeprefix(f"{kind}."): value for key, value in schema.items() if key.startswith(f"{kind}.")}


@functools.cache
def custom(kind: Kind) -> dict[str, dict[str, Any]]:
    """Returns the same of the classes in stages/models/custom.py. Raises `PipelineError` if one has a name of Keras."""
    keras = definitions(kind)
    own = custom_definitions(kind, keras, INTEGER.get(kind, []))
    if taken := [name for name in own if name in keras or name in REFUSED]:
        raise PipelineError(f"{CUSTOM}, line {classes()[taken[0]].lineno}: Keras has a {taken[0]}; rename this one")
    return own


def keras_object(kind: Kind, value: Any, where: str = "") -> KerasObject:
    """Reads and checks an object. Raises `PydanticCustomError`, located at the key, if Keras has no such object."""
    if isinstance(value, KerasObject):
        return value
    name, arguments = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, None)
    if not isinstance(name, str):
        raise located(where, f"expected a name or {{name: {{argument: value}}}}, found {found_value(value)}")
    known = definitions(kind) | custom(kind)
    if name in REFUSED:
        raise located(where, f"{name} is not on offer: {REFUSED[name]}")
    if name not in known and name in classes():
        bases = ", ".join(map(ast.unparse, classes()[name].bases)) or "nothing"
        raise located(where, f"expected a Keras {kind}; {name} in {CUSTOM} extends {bases}")
    if name not in known:
        raise located(where, f"unknown name '{name}'{nearest(name, known)}")
    where = f"{where}.{name}"
    if not isinstance(arguments, dict | None):
        raise located(where, f"expected a mapping of arguments to values, found {found_value(arguments)}")
    arguments, schema = arguments or {}, known[name]
    for key in arguments:
        if key not in schema["properties"]:
            raise located(f"{where}.{key}", f"unknown key{nearest(str(key), schema['properties'])}")
    for key in schema.get("required", ()):
        if key not in arguments:
            expected = _expected(_choices(schema["properties"][key]))
            raise located(f"{where}.{key}", f"required key is missing; expected {expected}")
    checked = {key: _argument(schema["properties"][key], item, f"{where}.{key}") for key, item in arguments.items()}
    return KerasObject(kind, name, checked)


def why_not_portable(value: KerasObject) -> str:
    """Returns why an object gives other bytes on other processors; "" if it gives the same."""
    if value.name not in NOT_PORTABLE.get(value.kind, ()):
        return ""
    return f"the {value.kind} {value.name} is computed with approximations that differ between processors"


def _argument(schema: dict[str, Any], value: Any, where: str) -> Any:
    """Checks the value of an argument; Keras objects within it are read."""
    if schema.get("items", {}).get("items"):  # branches
        return _branches(value, where)
    choices = _choices(schema)
    for choice in choices:
        if _fits(choice, value):
            return value
    kinds = [choice["$ref"].removeprefix("#/$defs/") for choice in choices if "$ref" in choice]
    if kinds and isinstance(value, str | dict):
        return keras_object(kinds[0], value, where)
    known = [option for choice in choices for option in choice.get("enum", ()) if isinstance(option, str)]
    if known and isinstance(value, str) and {"type": "integer"} not in choices:
        raise located(where, f"found {found_value(value)}{nearest(value, known)}")
    raise located(where, f"expected {_expected(choices)}, found {found_value(value)}")


def _branches(value: Any, where: str) -> list[list[KerasObject]]:
    if not (isinstance(value, list) and len(value) > 1 and all(isinstance(branch, list) for branch in value)):
        raise located(
            where, f"expected two or more lists of layers, [] for the input itself, found {found_value(value)}"
        )
    return [
        [keras_object("layer", layer, f"{where}[{row}][{column}]") for column, layer in enumerate(branch)]
        for row, branch in enumerate(value)
    ]


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the types that a value may have."""
    return schema.get("anyOf", [schema])


def _fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid under a part of the schema without objects."""
    if "$ref" in schema:
        return False
    if "enum" in schema:
        return value in schema["enum"] and not isinstance(value, bool)
    if "pattern" in schema:
        return isinstance(value, str) and bool(re.fullmatch(schema["pattern"], value))
    wanted = schema["type"]
    if isinstance(value, bool) or wanted == "boolean":
        return isinstance(value, bool) and wanted == "boolean"
    if not isinstance(value, TYPES[wanted]):
        return False
    if wanted == "array" and "items" in schema:
        return all(any(_fits(choice, item) for choice in schema["items"]["anyOf"]) for item in value)
    return wanted not in ("integer", "number") or abs(value) < float("inf")


def _expected(choices: list[dict[str, Any]]) -> str:
    """Describes the types that a value may have: `an integer or 'classes'`."""
    words = {"array": "a list", "integer": "an integer", "null": "null", "boolean": "true or false"}
    names = []
    for choice in choices:
        if "$ref" in choice:
            names.append(f"the name of a Keras {choice['$ref'].removeprefix('#/$defs/')}")
        elif "enum" in choice:
            names += [f"'{option}'" if isinstance(option, str) else str(option) for option in choice["enum"]]
        elif "pattern" in choice:
            names.append("text such as '2 epochs'")
        else:
            names.append(words.get(choice["type"], f"a {choice['type']}"))
    return " or ".join(dict.fromkeys(names))
