"""Times the epochs of one training: `python -m research.bench.epochs WHO ARCHITECTURE` prints a line of JSON.

WHO is "tutorial" for the tutorial's script, or a value of `train.kernels` for this project. Times each epoch after the
first, which compiles, including validation and, for this project, the checkpoint. Also measures the peak rate of matrix
multiplication in the same process. Needs data/prepared.
"""

import itertools
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

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
    """Measures the highest rate of float32 matrix multiplication, in FLOP/s."""
    import tensorflow as tf

    matrix = tf.ones((SIDE, SIDE))
    product = tf.function(lambda: tf.linalg.matmul(matrix, matrix))
    product().numpy()
    moments = [time.perf_counter()]
    for _ in range(PRODUCTS):
        product().numpy()
        moments.append(time.perf_counter())
    return 2 * SIDE**3 / min(after - before for before, after in itertools.pairwise(moments))


def flops(model) -> tuple[int, int]:
    """Counts the floating-point operations per image of the forward pass and of the training step.

    Two per weight and position in the forward pass; as many again for the weights' gradient and, except in the first
    layer with weights, for the inputs' (https://arxiv.org/abs/2001.08361, section 2.1). Without update, bias,
    activation and pooling.
    """
    forward = step = 0
    for layer in model.layers:
        if layer.weights:
            once = 2 * math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
            step += once * (3 if forward else 2)
            forward += once
    return forward, step


def ours(name: str, count: int, kernels: Kernels) -> list[float]:
    """Returns the times at which this project's epochs end, in seconds."""
    params, dataset, moments = load_params(), Dataset.read(TRAINING_DATA), []
    seed, architecture = params.train.seeds[0], params.architecture(name)
    make_deterministic(seed, kernels)
    images, labels = dataset.load(TRAINING_DATA)
    fit = architecture.fit.model_copy(update={"epochs": EPOCHS})
    model = build_model(name, architecture, dataset)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder, "checkpoint.npz"), "")
        arrays = images[:count], labels[:count]
        fit_model(model, *arrays, fit, seed, checkpoint, lambda *_: moments.append(time.perf_counter()))
    return moments


def tutorial(name: str, count: int) -> list[float]:
    """Returns the times at which the tutorial's epochs end, in seconds."""
    for variable in FIXED:
        os.environ.pop(variable, None)
    import keras  # as the tutorial imports it, without this project's settings

    from research.bench.tutorial import build, fit, load

    moments: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: moments.append(time.perf_counter()))
    x, y, _, _ = load(name)
    fit(name, build(name), x[:count], y[:count], EPOCHS, (clock,))
    return moments


def main() -> None:
    """Prints images per epoch, seconds of each epoch, FLOP per epoch, and the peak in FLOP/s."""
    who, name = sys.argv[1:]
    count = IMAGES[name[:3]]
    architecture = load_params().architecture(name)
    moments = tutorial(name, count) if who == "tutorial" else ours(name, count, who)
    forward, step = flops(build_model(name, architecture, Dataset.read(TRAINING_DATA)))
    held_out = int(count * architecture.fit.validation_split)
    epoch = {
        "images": count - held_out,
        "seconds": [after - before for before, after in itertools.pairwise(moments)],
        "flop": (count - held_out) * step + held_out * forward,
        "peak": matmul_peak(),
    }
    print(json.dumps(epoch))


if __name__ == "__main__":
    main()
