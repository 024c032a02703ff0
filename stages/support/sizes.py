"""Estimates the memory that a training needs, from params.yaml alone, so that what cannot fit is refused at once.

Counted are the weights with their gradients, and what the layers give for a batch of images, all as float32. It is an
estimate: rare layers, such as cropping, count as if they kept the shape of their input.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from stages.support.architecture import Architecture
from stages.support.keras_api import BRANCHES, KerasObject
from stages.support.notation import located

MOST = 64 * 2**30  # bytes of memory; the tutorials' networks need at most 2 % of it
MNIST = (28, 28, 1)  # where the data are not known yet
PER_WEIGHT, PER_VALUE = 8, 4  # bytes: a weight and its gradient; a number that a layer gives
GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}

Shape = tuple[int, ...]  # of what a layer takes or gives for one image


@dataclass(frozen=True)
class LayerSize:
    """A layer's path, such as `layers[1].Dense`, its number of weights, and the shape that it gives for an image."""

    path: str
    weights: int
    shape: Shape


def check_sizes(architecture: Architecture, image: Shape = MNIST, classes: int = 10, most: int = MOST) -> None:
    """Raises `PydanticCustomError`, located at the key, if training needs more than `most` bytes of memory."""
    sizes = list(_sizes(architecture.layers, image, classes, "layers"))
    largest = max(sizes, key=lambda size: size.weights)
    weights = PER_WEIGHT * sum(size.weights for size in sizes)
    if weights > most:
        raise _too_large(largest.path, f"{_figure(largest.weights)} weights", weights, most)
    values = PER_VALUE * (math.prod(image) + sum(math.prod(size.shape) for size in sizes))
    if values > most:
        largest = max(sizes, key=lambda size: math.prod(size.shape))
        raise _too_large(largest.path, f"{_figure(math.prod(largest.shape))} numbers for one image", values, most)
    batch = architecture.fit.batch_size
    if weights + batch * values > most:
        raise _too_large("fit.batch_size", f"{_figure(batch)} images at once", weights + batch * values, most)


def _too_large(where: str, what: str, needed: int, most: int) -> PydanticCustomError:
    needed, most = (_figure(size / 2**30) for size in (needed, most))
    found = f"about {needed} GiB, for {what}; make it smaller"
    return located(where, f"expected a training that needs at most {most} GiB of memory, found one of {found}")


def _figure(number: float) -> str:
    return f"{number:,.0f}" if 10 <= number < 1e15 else f"{number:.2g}"


def _sizes(layers: Sequence[KerasObject], shape: Shape, classes: int, where: str) -> Iterator[LayerSize]:
    for index, layer in enumerate(layers):
        path = f"{where}[{index}].{layer.name}"
        ends = []
        for row, branch in enumerate(layer.arguments.get(BRANCHES, ())):
            inner = list(_sizes(branch, shape, classes, f"{path}.{BRANCHES}[{row}]"))
            yield from inner
            ends.append(inner[-1].shape if inner else shape)
        if layer.name == "Concatenate" and ends:
            shape = (*ends[0][:-1], sum(end[-1] for end in ends))
        elif ends:
            shape = max(ends, key=math.prod)
        found = LayerSize(path, *_size(layer, shape, classes))
        shape = found.shape
        yield found


def _size(layer: KerasObject, shape: Shape, classes: int) -> tuple[int, Shape]:
    """The number of weights of a layer, without those that do not count beside the rest, and the shape it gives."""
    *space, channels = shape
    units = _integer(layer.arguments.get("units"), classes)
    if layer.name == "Dense":
        return channels * units, (*space, units)
    if layer.name in GATES:
        steps = space[:1] if layer.arguments.get("return_sequences") else []
        return GATES[layer.name] * units * (channels + units), (*steps, units)
    if layer.name == "Flatten":
        return 0, (math.prod(shape),)
    if layer.name == "RepeatVector":
        return 0, (_integer(layer.arguments.get("n")), channels)
    if layer.name == "Reshape":
        target = layer.arguments.get("target_shape", ())
        return 0, (math.prod(shape),) if -1 in target else tuple(_integer(size) for size in target)
    if "Conv" in layer.name:
        return _convolution(layer, space, channels)
    if layer.name.startswith("Global"):
        return 0, (channels,)
    return 0, (*_resized(layer, space), channels)


def _convolution(layer: KerasObject, space: list[int], channels: int) -> tuple[int, Shape]:
    arguments = layer.arguments
    kernel = _integers(arguments.get("kernel_size"), space)
    strides = _integers(arguments.get("strides"), space)
    multiplier = _integer(arguments.get("depth_multiplier"))
    filters = _integer(arguments.get("filters"), channels * multiplier)
    if "Depthwise" in layer.name:
        weights = math.prod(kernel) * filters
    elif "Separable" in layer.name:
        weights = channels * multiplier * (math.prod(kernel) + filters)
    else:
        weights = math.prod(kernel) * channels * filters // _integer(arguments.get("groups"))
    if "Transpose" in layer.name:
        space = [size * stride for size, stride in zip(space, strides, strict=True)]
    elif arguments.get("padding") == "same":
        space = [-(-size // stride) for size, stride in zip(space, strides, strict=True)]
    else:
        space = [max(1, (size - side) // stride + 1) for size, side, stride in zip(space, kernel, strides, strict=True)]
    return weights, (*space, filters)


def _resized(layer: KerasObject, space: list[int]) -> list[int]:
    """Height and width after a layer without weights."""
    arguments = layer.arguments
    if re.match(r"(Max|Average)Pooling", layer.name):
        size = arguments.get("pool_size", 2)
        strides = _integers(arguments.get("strides") or size, space)
        return [max(1, side // stride) for side, stride in zip(space, strides, strict=True)]
    if layer.name.startswith("UpSampling"):
        return [side * factor for side, factor in zip(space, _integers(arguments.get("size", 2), space), strict=True)]
    if layer.name.startswith("ZeroPadding"):
        padding = arguments.get("padding", 1)
        pairs = [each if isinstance(each, list) else [each, each] for each in _each(padding, space)]
        return [side + sum(map(_integer, pair)) for side, pair in zip(space, pairs, strict=True)]
    if {"height", "width"} <= arguments.keys():
        return [_integer(arguments["height"]), _integer(arguments["width"])]
    return space


def _each(value: Any, space: list[int]) -> list[Any]:
    """The value for each direction: those of a list, or the same for all."""
    return value if isinstance(value, list) and len(value) == len(space) else [value] * len(space)


def _integers(value: Any, space: list[int]) -> list[int]:
    return [_integer(each) for each in _each(value, space)]


def _integer(value: Any, default: int = 1) -> int:
    """The value if it is a positive number; what Keras will refuse, and `classes`, count as the default."""
    return value if isinstance(value, int) and value > 0 else default
