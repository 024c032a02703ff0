"""Reads names, arguments, types, defaults and descriptions from the installed Keras.

Types come from signatures and docstrings, as Keras has almost no annotations. If neither has a type, all are allowed,
and Keras checks the value when it builds the model.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from stages.support.keras_api import BRANCHES, CLASSES, EPOCHS, REFUSED, Kind, custom

# Arguments that are not for params.yaml: DVC and Keras name things, and all is trained, in float32, with train.seeds,
# on one device. Others are for low precision, fine-tuning, several outputs, or operations that are not portable.
LEFT_OUT = re.compile(
    "name|dtype|seed|reduction|from_logits|trainable|autocast|loss_scale_factor|quantization_config|lora_.*|weights"
    "|gptq_unpacked_column_size|return_state|exclude_layers|stateful|synchronized|use_cudnn|renorm.*"
)
MERGING = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
COUNTS = ("filters", "units")  # arguments that may be the number of classes
STEPS = ("decay_steps", "first_decay_steps", "warmup_steps")  # arguments of schedules that may be in epochs
VALUE_RANGE = [0, 1]  # the range of normalised images, for `value_range`; Keras's default is 0 to 255
IN_EPOCHS = {"type": "string", "pattern": EPOCHS.pattern}
PYTHON = {int: "number", float: "number", str: "string", tuple: "array", list: "array"}
WORDS = (
    (r"\bbool(ean)?s?\b|^If `?True|^Whether", "boolean"),
    (r"\bfloats?\b|\bscalar\b|\bpython numbers?\b", "number"),
    (r"\bint(eger)?s?\b(?! tensor)", "integer"),
    (r"\btuples?\b|\blists?\b|\binteger tensor\b", "array"),
    (r"\bstr(ing)?\b|\bone of\b", "string"),
)
ANY_TYPE = [{"type": name} for name in ("boolean", "number", "string", "array", "null")]


def keras_classes(keras: ModuleType) -> Iterator[tuple[Kind, str, Any]]:
    """Yields every class of Keras that may be on offer: its kind, name and class."""
    schedules = keras.optimizers.schedules
    places: dict[Kind, tuple[ModuleType, type]] = {
        "layer": (keras.layers, keras.layers.Layer),
        "optimizer": (keras.optimizers, keras.optimizers.Optimizer),
        "loss": (keras.losses, keras.losses.Loss),
        "schedule": (schedules, schedules.LearningRateSchedule),
        "initializer": (keras.initializers, keras.initializers.Initializer),
        "regularizer": (keras.regularizers, keras.regularizers.Regularizer),
        "constraint": (keras.constraints, keras.constraints.Constraint),
    }
    for kind, (module, base) in places.items():
        for name, value in sorted(vars(module).items()):
            if inspect.isclass(value) and issubclass(value, base) and value is not base and name == value.__name__:
                yield kind, name, value


def keras_definitions(keras: ModuleType) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of each kind of object, and of the arguments of each object on offer (`layer.Conv2D`)."""
    objects: dict[str, dict[str, Any]] = {}
    for kind, name, keras_class in keras_classes(keras):
        if name not in REFUSED:
            objects[f"{kind}.{name}"] = _arguments(kind, keras_class)
    for name, function in sorted(vars(keras.activations).items()):
        if inspect.isfunction(function) and name not in REFUSED and _takes_one_argument(function):
            objects[f"activation.{name}"] = _object({}, [])
    for name in [key.removeprefix("initializer.") for key in objects if key.startswith("initializer.")]:
        if not objects[f"initializer.{name}"]["required"]:
            objects[f"initializer.{re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).lower()}"] = _object({}, [])
    kinds: dict[Any, None] = dict.fromkeys(key.partition(".")[0] for key in objects)
    for kind in kinds:
        objects |= {f"custom.{kind}.{name}": arguments for name, arguments in custom(kind).items()}
    return {kind: _kind(kind, objects) for kind in kinds} | objects


def _takes_one_argument(function: Callable) -> bool:
    """Whether it is a function of `x`, not one of Keras's helpers for functions; further arguments have defaults."""
    first, *others = inspect.signature(function).parameters.values()
    return first.name == "x" and all(other.default is not other.empty for other in others)


def _kind(kind: str, objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the JSON Schema of an object of a kind: its name, or {name: arguments}."""
    own = {key.rpartition(".")[2]: key for key in objects if key.removeprefix("custom.").startswith(f"{kind}.")}
    bare = [name for name, key in own.items() if not objects[key]["required"]]
    with_arguments = _object({name: {"$ref": f"#/$defs/{key}"} for name, key in own.items()}, [])
    return {"anyOf": [{"enum": bare}, with_arguments | {"minProperties": 1, "maxProperties": 1}]}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _arguments(kind: Kind, keras_class: type) -> dict[str, Any]:
    """Returns the JSON Schema of the arguments of a class."""
    properties, required = {}, []
    documented = _documented(keras_class)
    for name, parameter in inspect.signature(keras_class).parameters.items():
        if LEFT_OUT.fullmatch(name) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        needed = parameter.default is parameter.empty
        filled_in = kind == "schedule" and name == "decay_steps"  # by the steps of the training
        if name == "value_range" or (needed and not filled_in):
            required.append(name)
        choices = _choices(kind, name, parameter.default, documented.get(name, ""), needed)
        properties[name] = choices[0] if len(choices) == 1 else {"anyOf": choices}
        if text := re.split(r"(?<=\.)\s", documented.get(name, ""))[0]:
            properties[name] = properties[name] | {"description": text}
        if not needed and isinstance(parameter.default, bool | int | float | str | None):
            properties[name] = properties[name] | {"default": parameter.default}
    if keras_class.__name__ in MERGING:
        layers = {"type": "array", "items": {"$ref": "#/$defs/layer"}}
        text = "lists of layers, each applied to the input; [] is the input itself"
        properties[BRANCHES] = {"type": "array", "items": layers, "minItems": 2, "description": text}
        required.append(BRANCHES)
    return _object(properties, required)


def _choices(kind: Kind, name: str, default: Any, text: str, needed: bool) -> list[dict[str, Any]]:
    """Returns the types that an argument may have, each as JSON Schema."""
    for suffix in ("initializer", "regularizer", "constraint", "activation"):
        if name == suffix or name.endswith(f"_{suffix}"):
            return [{"$ref": f"#/$defs/{suffix}"}, {"type": "null"}]
    if name == "learning_rate":
        return [{"type": "number"}, {"$ref": "#/$defs/schedule"}]
    if name == "data_format":
        return [{"enum": ["channels_last", "channels_first"]}, {"type": "null"}]
    if name == "value_range":
        return [{"enum": [VALUE_RANGE]}]
    if kind == "schedule" and name in STEPS:
        return [{"type": "integer"}, IN_EPOCHS]
    if kind == "schedule" and name == "boundaries":
        return [{"type": "array", "items": {"anyOf": [{"type": "number"}, IN_EPOCHS]}}]
    options = list(dict.fromkeys(re.findall(r"\"([a-z_0-9]+)`?\"", text)))
    if default in options and len(options) > 1:
        return [{"enum": options}]
    words = next(filter(None, map(_words, re.split(r"[,.:] ", text)[:2])), [])
    if re.search(r"\bor an? (list|tuple)", text):
        words.append("array")
    if isinstance(default, bool):
        words = ["boolean"]
    elif not needed and default is not None:
        words.append("integer" if isinstance(default, int) and "integer" in words else PYTHON[type(default)])
    if "number" in words and "integer" in words:
        words.remove("integer")  # which is a number
    if not words:
        return ANY_TYPE
    words += ["null"] if default is None else []
    choices: list[dict[str, Any]] = [{"type": word} for word in dict.fromkeys(words)]
    if name in COUNTS and kind == "layer":
        choices.append({"enum": [CLASSES]})
    return choices


def _words(text: str) -> list[str]:
    """Returns the types that a part of a description names."""
    return [word for pattern, word in WORDS if re.search(pattern, text, re.IGNORECASE)]


def _documented(keras_class: type) -> dict[str, str]:
    """Returns the description of each argument, from the docstrings of a class and its bases."""
    descriptions: dict[str, str] = {}
    for base in keras_class.__mro__:
        text = inspect.cleandoc(base.__doc__ or "") + "\n"
        for indent, arguments in re.findall(r"^( *)Arg(?:ument)?s:\n((?:\1 +\S.*\n|\n)+)", text, re.MULTILINE):
            entry = rf"^{indent} {{4}}`?(\w+)`?: *(.*\n(?:(?:{indent} {{5,}}.*)?\n)*)"
            for name, description in re.findall(entry, arguments, re.MULTILINE):
                descriptions.setdefault(name, " ".join(description.split()))
    return descriptions
