"""Times the epochs of a training: `python -m research.bench.epochs WHO ARCHITECTURE` prints images per second, as JSON.

WHO is "tutorial" for the tutorial's script, or a value of `train.kernels` for this project. Leaves out the first epoch,
which compiles; includes validation and, for this project, the checkpoint. Needs data/prepared.
"""

import itertools
import json
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
from stages.support.architecture import Architecture
from stages.support.params import load_params
from tools.common.results import TRAINING_DATA

EPOCHS, SEED = 4, 10
IMAGES = {"mlp": 60_000, "cnn": 32_000}  # of the training set


def ours(name: str, architecture: Architecture, kernels: Kernels, moments: list[float]) -> None:
    """Trains as the train stage does; adds the times at which epochs end."""
    make_deterministic(SEED, kernels)
    dataset = Dataset.read(TRAINING_DATA)
    images, labels = (array[: IMAGES[name[:3]]] for array in dataset.load(TRAINING_DATA))
    fit = architecture.fit.model_copy(update={"epochs": EPOCHS})
    model = build_model(name, architecture, dataset)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder, "checkpoint.npz"), "")
        fit_model(model, images, labels, fit, SEED, checkpoint, lambda *_: moments.append(time.perf_counter()))


def tutorial(name: str, moments: list[float]) -> None:
    """Trains as the tutorial does; adds the times at which epochs end."""
    for variable in FIXED:
        os.environ.pop(variable, None)
    import keras  # as the tutorial imports it, without this project's settings

    from research.bench.tutorial import build, fit, load

    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: moments.append(time.perf_counter()))
    images, labels = (array[: IMAGES[name[:3]]] for array in load(name)[:2])
    fit(name, build(name), images, labels, EPOCHS, (clock,))


def main() -> None:
    """Prints the images per second of each epoch, a list."""
    who, name = sys.argv[1:]
    architecture, moments = load_params().architecture(name), []
    if who == "tutorial":
        tutorial(name, moments)
    else:
        ours(name, architecture, who, moments)
    trained = IMAGES[name[:3]] * (1 - architecture.fit.validation_split)
    print(json.dumps([trained / (after - before) for before, after in itertools.pairwise(moments)]))


if __name__ == "__main__":
    main()
