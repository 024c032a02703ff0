"""What TensorFlow computes with other last bits on other processors, computed otherwise.

Intel's and AMD's instructions for an approximate 1/√x and 1/x differ. Of what params.yaml offers, batch normalization
and gelu compute with them, through TensorFlow's `rsqrt` and `erfc`. The QR decomposition, with which the orthogonal
initializer starts, adds up in blocks as large as the processor's caches.
"""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def use_portable_operations(model: "keras.Model") -> None:
    """Lets the layers of a model compute with the operations below. What is saved of it stays Keras's own."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.call = functools.partial(batch_normalization, layer)
        if getattr(layer, "activation", None) is keras.activations.gelu:
            layer.activation = gelu


def initialize_orthogonal(model: "keras.Model") -> None:
    """Starts the weights for which Keras's orthogonal initializer is asked, as it does, by NumPy's QR decomposition.

    A random normal matrix = QR; Q's columns take the signs of R's diagonal (https://arxiv.org/abs/math-ph/0609050).
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
    """x/2 (1 + erf(x/√2)), by `erf`, where TensorFlow takes `erfc` (https://arxiv.org/abs/1606.08415)."""
    import tensorflow as tf

    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


def batch_normalization(
    layer: "keras.layers.BatchNormalization", inputs: "tf.Tensor", training: bool | None = None, **_: None
) -> "tf.Tensor":
    """What the layer's own `call` gives, by TensorFlow's one operation for it, which divides by a square root.

    Args:
        inputs: float32 (n, …, channels); normalised for each channel (https://arxiv.org/abs/1502.03167).
        training: whether with the mean and variance of these inputs, which then move the layer's own.
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
        variance *= (count - 1) / count  # TensorFlow divides the squares' sum by count - 1, Keras by count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    else:
        outputs, _, _ = normalize(is_training=False, mean=layer.moving_mean, variance=layer.moving_variance)
    return tf.reshape(outputs, tf.shape(inputs))
