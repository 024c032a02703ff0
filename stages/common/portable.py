"""Replaces the TensorFlow operations whose last bits depend on the processor.

Intel's and AMD's instructions for an approximate 1/√x and 1/x differ. Batch normalization and gelu use them, through
TensorFlow's `rsqrt` and `erfc`. The QR decomposition in the orthogonal initializer adds up in blocks sized to the
processor's caches.
"""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def use_portable_operations(model: "keras.Model") -> None:
    """Makes the layers of a model use the operations below. The saved model contains only Keras's own layers."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.call = functools.partial(batch_normalization, layer)
        if getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = gelu


def initialize_orthogonal(model: "keras.Model") -> None:
    """Initializes weights as Keras's orthogonal initializer does, but with NumPy's QR decomposition.

    Decomposes a random normal matrix into QR. Q's columns take the signs of R's diagonal
    (https://arxiv.org/abs/math-ph/0609050).
    """
    import keras

    for layer in model.layers:
        initializer = getattr(layer, "kernel_initializer", None)
        if isinstance(initializer, keras.initializers.Orthogonal):
            rows, columns = math.prod(layer.kernel.shape[:-1]), layer.kernel.shape[-1]
            shape = max(rows, columns), min(rows, columns)
            q, r = np.linalg.qr(keras.random.normal(shape, seed=initializer.seed).numpy())
            q *= np.sign(np.diag(r))
            layer.kernel.assign(initializer.gain * (q if rows >= columns else q.T).reshape(layer.kernel.shape))


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
