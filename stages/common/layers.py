"""The Keras layers that an architecture can use: typed arguments, and the output shape.

Class names, argument names and defaults are Keras's own, so Keras documents them
(https://keras.io/api/layers/). Only the arguments set in params.yaml are passed to Keras.
To support another layer, add its class here. `LAYERS` collects the classes, and a test
compares each with the real Keras layer.

Shapes leave out the batch axis: `(height, width, channels)` or `(units,)`. Sizes that are
unknown because the data has not been read yet are `None`.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, WrapValidator
from pydantic_core import PydanticCustomError, ValidationError

from stages.common.notation import Named, by_name

Shape = tuple[int | None, ...]
Rate = Annotated[float, Field(ge=0, lt=1)]
Padding = Literal["valid", "same"]
DataFormat = Literal["channels_last", "channels_first"]
# fmt: off
ActivationName = Literal[
    "elu", "gelu", "hard_sigmoid", "leaky_relu", "linear", "relu", "relu6", "selu", "sigmoid",
    "silu", "softmax", "softplus", "softsign", "swish", "tanh",
]
InitializerName = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform",
    "truncated_normal", "variance_scaling", "zeros",
]
# fmt: on


def _units(value: Any, handler: Any) -> Any:
    try:
        return handler(value)
    except ValidationError as error:
        message = "a positive integer or 'classes' (the number of classes in the data)"
        raise PydanticCustomError("units", message) from error


Units = Annotated[PositiveInt | Literal["classes"], WrapValidator(_units)]
Pair = Annotated[
    tuple[PositiveInt, PositiveInt],
    Field(strict=False),
    BeforeValidator(
        lambda value: (value, value) if isinstance(value, int) else value,
        json_schema_input_type=PositiveInt | tuple[PositiveInt, PositiveInt],
    ),
]


class Layer(Named):
    """A Keras layer as written in params.yaml: a name, or `{name: arguments}`."""

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        """The output shape for an input of `shape`. Raises `ValueError` if the layer cannot take it."""
        return shape


class Flatten(Layer):
    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        return (_product(shape),)


class Reshape(Layer):
    target_shape: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)]

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        size = _product(shape)
        if size is not None and size != math.prod(self.target_shape):
            raise ValueError(f"cannot reshape {shape} into {self.target_shape}")
        return self.target_shape


class Dense(Layer):
    units: Units
    activation: ActivationName = "linear"
    use_bias: bool = True
    kernel_initializer: InitializerName = "glorot_uniform"
    bias_initializer: InitializerName = "zeros"

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        return (*shape[:-1], classes if self.units == "classes" else self.units)


class Dropout(Layer):
    rate: Rate


class SpatialDropout2D(Layer):
    rate: Rate

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        return _image(shape)


class Activation(Layer):
    activation: ActivationName


class BatchNormalization(Layer):
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    epsilon: Annotated[float, Field(gt=0)] = 0.001
    center: bool = True
    scale: bool = True


class Conv2D(Layer):
    filters: PositiveInt
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    activation: ActivationName = "linear"
    use_bias: bool = True
    kernel_initializer: InitializerName = "glorot_uniform"
    bias_initializer: InitializerName = "zeros"

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        height, width, _ = _image(shape)
        return (*_slide((height, width), self.kernel_size, self.strides, self.padding), self.filters)


class _Pooling2D(Layer):
    pool_size: Pair = (2, 2)
    strides: Pair | None = None
    padding: Padding = "valid"
    data_format: DataFormat = "channels_last"

    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        strides = self.strides or self.pool_size
        if self.data_format == "channels_first":
            channels, height, width = _image(shape)
            return (channels, *_slide((height, width), self.pool_size, strides, self.padding))
        height, width, channels = _image(shape)
        return (*_slide((height, width), self.pool_size, strides, self.padding), channels)


class MaxPooling2D(_Pooling2D):
    pass


class AveragePooling2D(_Pooling2D):
    pool_size: Pair


class _GlobalPooling2D(Layer):
    def output_shape(self, shape: Shape, classes: int | None) -> Shape:
        return (_image(shape)[-1],)


class GlobalAveragePooling2D(_GlobalPooling2D):
    pass


class GlobalMaxPooling2D(_GlobalPooling2D):
    pass


LAYERS = by_name(Layer)


def _product(shape: Shape) -> int | None:
    return None if None in shape else math.prod(shape)


def _image(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(f"expected an input of (height, width, channels), found {shape}")
    return shape


def _slide(sizes: Shape, windows: Shape, strides: Shape, padding: Padding) -> Shape:
    """Output sizes of a sliding window: ceil(size / stride) if padded, else the positions that fit."""
    result = []
    for size, window, stride in zip(sizes, windows, strides, strict=True):
        if size is None or padding == "same":
            result.append(size and math.ceil(size / stride))
        elif size < window:
            raise ValueError(f"a window of {window} pixels does not fit into {size} pixels")
        else:
            result.append((size - window) // stride + 1)
    return tuple(result)
