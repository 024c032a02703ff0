"""Estimates the memory that a training needs, from params.yaml alone, so that absurd sizes are refused at once."""

import math
from collections.abc import Iterator, Sequence

from stages.support.architecture import Architecture
from stages.support.keras_api import BRANCHES, CLASSES, KerasObject, definitions
from stages.support.notation import located

MOST = 64 * 2**30  # bytes of memory; the tutorials' networks need at most 2 % of it
PER_WEIGHT, PER_VALUE = 8, 4  # bytes: a float32 with its gradient, and one without
Size = tuple[int, int]  # of what a layer takes or gives for one image: pixels, and channels of each


def check_sizes(
    architecture: Architecture, image: tuple[int, int, int] = (28, 28, 1), classes: int = 10, most: int = MOST
) -> None:
    """Raises `PydanticCustomError`, located at the key, if training needs more than `most` bytes of memory."""
    height, width, channels = image
    layers = list(_layers(architecture.layers, (height * width, channels), classes, "layers"))
    needs = {path: (PER_WEIGHT * weights, PER_VALUE * math.prod(size)) for path, weights, size in layers}
    weights, values = map(sum, zip(*needs.values(), strict=True))
    where = max(needs, key=lambda path: sum(needs[path]))
    if weights + values <= most:
        where, values = "fit.batch_size", architecture.fit.batch_size * values
    if weights + values > most:
        found = f"found one of about {min((weights + values) >> 30, 10**9):,} GiB; make it smaller"
        raise located(where, f"expected a training that needs at most {most >> 30} GiB of memory, {found}")


def _layers(layers: Sequence[KerasObject], size: Size, classes: int, where: str) -> Iterator[tuple[str, int, Size]]:
    """Yields the path of each layer, its number of weights, and the size of its output."""
    for index, layer in enumerate(layers):
        path, ends = f"{where}[{index}].{layer.name}", []
        for row, branch in enumerate(layer.arguments.get(BRANCHES, ())):
            inner = list(_layers(branch, size, classes, f"{path}.{BRANCHES}[{row}]"))
            yield from inner
            ends.append(inner[-1][2] if inner else size)
        size = max(ends, key=math.prod, default=size)
        if layer.name == "Concatenate":
            size = size[0], sum(channels for _, channels in ends)
        weights, size = _size(layer, size, classes) if layer.name in definitions("layer") else (0, size)
        yield path, weights, size


def _size(layer: KerasObject, size: Size, classes: int) -> tuple[int, Size]:
    """The number of weights of a layer and the size of its output, roughly: for rare layers, more than they have."""
    given, (pixels, channels) = layer.arguments, size
    axes = next((int(character) for character in layer.name if character.isdigit()), 2)  # Conv1D, UpSampling3D

    def product(key: str, default: int = 1) -> int:
        value = given.get(key) or default
        return _count(value) if isinstance(value, list) else _count(value) ** axes

    if layer.name == "Flatten" or -1 in given.get("target_shape", ()):
        return 0, (1, pixels * channels)
    if target := given.get("target_shape", given.get("output_shape")):  # Reshape, EinsumDense
        weights = channels * product("output_shape") if "output_shape" in given else 0
        return weights, (math.prod(map(_count, target[:-1])), _count(target[-1]))
    units = given.get("units", given.get("filters", channels * _count(given.get("depth_multiplier"))))
    units = classes if units == CLASSES else _count(units)
    weights = product("kernel_size") * channels * units if given.keys() & {"units", "kernel_size"} else 0
    if is_recurrent := layer.name.endswith(("GRU", "LSTM", "RNN")):
        weights = 4 * (weights + units**2)
    strides = product("strides") if given.get("strides") else product("pool_size", 2 if "Pooling" in layer.name else 1)
    pixels = pixels * strides if "Transpose" in layer.name else max(1, pixels // strides)
    pixels *= product("size", 2 if "UpSampling" in layer.name else 1) * _count(given.get("n"))
    if layer.name.startswith("ZeroPadding"):
        pixels = (math.isqrt(pixels) + 2 * product("padding")) ** 2
    elif layer.name.startswith("Global") or (is_recurrent and not given.get("return_sequences")):
        pixels = 1
    elif "output_size" in given or "height" in given:
        pixels = product("output_size") * _count(given.get("height")) * _count(given.get("width"))
    return weights, (pixels, units)


def _count(value: object) -> int:
    """The value if it is a positive number, the product of a list; what Keras will refuse counts as 1."""
    if isinstance(value, list):
        return math.prod(map(_count, value))
    return value if isinstance(value, int) and value > 0 else 1
