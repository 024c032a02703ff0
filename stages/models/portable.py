"""Replaces the TensorFlow operations whose last bits depend on the processor.

Intel's and AMD's instructions for an approximate 1/√x and 1/x differ. Normalizations and gelu use them, through
TensorFlow's `rsqrt` and `erfc`. A division by a square root is exact, where `stages.common.kernels` lets it stay one.
The QR decomposition in the orthogonal initializer adds up in blocks sized to the processor's caches.
"""

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


KERNELS = {  # by the argument that initializes them
    "kernel_initializer": ("kernel",),
    "recurrent_initializer": ("recurrent_kernel",),
    "depthwise_initializer": ("depthwise_kernel", "kernel"),
    "pointwise_initializer": ("pointwise_kernel",),
}


def use_portable_operations(model: "keras.Model") -> None:
    """Makes the layers of a model use the operations below. The saved model contains only Keras's own layers."""
    import keras

    for layer in _layers(model):
        for layer_class, call in (
            (keras.layers.BatchNormalization, batch_normalization),
            (keras.layers.LayerNormalization, layer_normalization),
            (keras.layers.RMSNormalization, rms_normalization),
        ):
            if isinstance(layer, layer_class):
                layer.call = functools.partial(call, layer)
        for name in ("activation", "recurrent_activation"):
            if vars(layer).get(name) is keras.activations.gelu:
                setattr(layer, name, gelu)


def initialize_orthogonal(model: "keras.Model") -> None:
    """Initializes weights as Keras's orthogonal initializer does, but with NumPy's QR decomposition.

    Decomposes a random normal matrix into QR. Q's columns take the signs of R's diagonal
    (https://arxiv.org/abs/math-ph/0609050).
    """
    import keras

    for layer in _layers(model):
        for name, kernels in KERNELS.items():
            initializer = vars(layer).get(name)
            if isinstance(initializer, keras.initializers.Orthogonal) and layer.built:
                kernel = next(getattr(layer, kernel) for kernel in kernels if hasattr(layer, kernel))
                rows, columns = math.prod(kernel.shape[:-1]), kernel.shape[-1]
                shape = max(rows, columns), min(rows, columns)
                q, r = np.linalg.qr(keras.random.normal(shape, seed=initializer.seed).numpy())
                q *= np.sign(np.diag(r))
                kernel.assign(initializer.gain * (q if rows >= columns else q.T).reshape(kernel.shape))


def _layers(model: "keras.Model") -> Iterator["keras.Layer"]:
    """The layers of a model, and those within them, such as a recurrent one's cell, which has its weights."""
    yield from model._flatten_layers(include_self=False)


def gelu(x: "tf.Tensor") -> "tf.Tensor":
    """x/2 (1 + erf(x/√2)), with `erf` where TensorFlow uses `erfc` (https://arxiv.org/abs/1606.08415)."""
    import tensorflow as tf

    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


def batch_normalization(
    layer: "keras.layers.BatchNormalization", inputs: "tf.Tensor", training: bool | None = None, **_: None
) -> "tf.Tensor":
    """Computes the layer's own `call` with TensorFlow's fused operation, which divides by a square root.

    Args:
        inputs: float32 (n, …, channels), normalised per channel (https://arxiv.org/abs/1502.03167).
        training: whether to use the mean and variance of these inputs and update the layer's moving ones.
    """
    import tensorflow as tf

    channels = inputs.shape[-1]
    rows = tf.reshape(inputs, (-1, 1, 1, channels))
    gamma = layer.gamma if layer.scale else tf.ones(channels)
    beta = layer.beta if layer.center else tf.zeros(channels)
    normalize = functools.partial(tf.compat.v1.nn.fused_batch_norm, rows, gamma, beta, epsilon=layer.epsilon)
    if training and layer.trainable:
        outputs, mean, variance = normalize(is_training=True)
        count = tf.cast(tf.shape(rows)[0], variance.dtype)
        variance *= (count - 1) / count  # TensorFlow divides the sum of squares by count - 1, Keras by count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    else:
        outputs, _, _ = normalize(is_training=False, mean=layer.moving_mean, variance=layer.moving_variance)
    return tf.reshape(outputs, tf.shape(inputs))


def layer_normalization(layer: "keras.layers.LayerNormalization", inputs: "tf.Tensor") -> "tf.Tensor":
    """(x - mean) / √(variance + epsilon), over the layer's axes (https://arxiv.org/abs/1607.06450)."""
    import tensorflow as tf

    mean, variance = tf.nn.moments(inputs, layer.axis, keepdims=True)
    outputs = (inputs - mean) / tf.sqrt(variance + layer.epsilon)
    shape = [
        size if axis in layer.axis or axis - len(inputs.shape) in layer.axis else 1
        for axis, size in enumerate(inputs.shape)
    ]
    if layer.gamma is not None:
        outputs *= tf.reshape(layer.gamma, shape)
    return outputs if layer.beta is None else outputs + tf.reshape(layer.beta, shape)


def rms_normalization(layer: "keras.layers.RMSNormalization", inputs: "tf.Tensor") -> "tf.Tensor":
    """x / √(mean of x² + epsilon), over the layer's axis (https://arxiv.org/abs/1910.07467)."""
    import tensorflow as tf

    squares = tf.reduce_mean(tf.square(inputs), layer.axis, keepdims=True)
    return inputs / tf.sqrt(squares + layer.epsilon) * layer.scale
