"""Times the epochs of one training: `python -m tools.bench.loop WHO ARCHITECTURE` prints one line of JSON.

WHO is "tutorial" for the tutorial's script, or a value of train.kernels for this project.

Times each epoch after the first, which compiles, including validation and, for this project, the checkpoint.
Also measures the peak rate of matrix multiplication in the same process.
"""

import itertools
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from stages.common.kernels import FIXED, Kernels
from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.checkpoint import Checkpoint
from stages.models.models import make_deterministic
from stages.models.training import fit_model
from stages.support.params import load_params
from tools.common.results import TRAINING_DATA

EPOCHS = 4
IMAGES = {"mlp": 60_000, "cnn": 32_000}  # of the training set
SIDE, PRODUCTS = 2000, 5  # of the square matrices whose product gives the peak


def matmul_peak() -> float:
    """The highest rate of float32 matrix multiplication that TensorFlow reaches, in FLOP/s."""
    import tensorflow as tf

    matrix = tf.ones((SIDE, SIDE))
    product = tf.function(lambda: tf.linalg.matmul(matrix, matrix))
    product().numpy()
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def flops(model) -> tuple[int, int]:
    """Floating-point operations of the forward pass and of the training step, per image.

    Counts two per weight and position where it is used; the backward pass as many for the weights' gradient and,
    except in the first layer with weights, for the inputs' (https://arxiv.org/abs/2001.08361, section 2.1). Does not
    count update, bias, activation and pooling.
    """
    forward = step = 0
    for layer in model.layers:
        if layer.weights:
            places = math.prod(layer.output.shape[1:-1])
            once = 2 * places * math.prod(layer.kernel.shape)
            step += once * (3 if forward else 2)
            forward += once
    return forward, step


class Clock(Checkpoint):
    """A checkpoint that records when it is written."""

    moments: ClassVar[list[float]] = []

    def save(self, model, history) -> None:
        super().save(model, history)
        self.moments.append(time.perf_counter())


def ours(name: str, count: int, kernels: Kernels) -> list[float]:
    """Times at which this project's epochs end, in seconds."""
    params = load_params()
    dataset = Dataset.read(TRAINING_DATA)
    make_deterministic(params.train.seeds[0], kernels)
    architecture = params.architecture(name)
    images, labels = dataset.load(TRAINING_DATA)
    fit = architecture.fit.model_copy(update={"epochs": EPOCHS})
    model = build_model(name, architecture, dataset)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder, "kept"), "")
        fit_model(model, images[:count], labels[:count], fit, params.train.seeds[0], clock, lambda *_: None)
    return Clock.moments


def tutorial(name: str, count: int) -> list[float]:
    """Times at which the tutorial's epochs end, in seconds."""
    for variable in FIXED:
        os.environ.pop(variable, None)
    import keras  # as the tutorial imports it, without this project's settings

    from tools.bench.tutorial import build, fit, load

    moments: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: moments.append(time.perf_counter()))
    x, y, _, _ = load(name)
    fit(name, build(name), x[:count], y[:count], EPOCHS, (clock,))
    return moments


def main() -> None:
    """Prints images per epoch, seconds of each epoch, FLOP per epoch, and the peak in FLOP/s."""
    who, name = sys.argv[1:]
    count = next(count for kind, count in IMAGES.items() if name.startswith(kind))
    architecture = load_params().architecture(name)
    moments = tutorial(name, count) if who == "tutorial" else ours(name, count, who)
    peak = matmul_peak()
    forward, step = flops(build_model(name, architecture, Dataset.read(TRAINING_DATA)))
    held_out = int(count * architecture.fit.validation_split)
    result = {
        "images": count - held_out,
        "seconds": [after - before for before, after in itertools.pairwise(moments)],
        "flop": (count - held_out) * step + held_out * forward,
        "peak": peak,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
