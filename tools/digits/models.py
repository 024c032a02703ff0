"""Chooses trained models, and predicts with them."""

import numpy as np

from stages.common.prepared import Dataset
from stages.support.errors import PipelineError
from stages.support.params import load_params
from tools.common import results
from tools.common.predictions import read_predictions
from tools.common.revision import WORKSPACE

BATCH = 1000  # images predicted at once


def reported(names: list[str]) -> list[str]:
    """Checks that params.yaml has these architectures. Returns them, or all if the list is empty."""
    params = load_params()
    for name in names:
        params.architecture(name)
    return names or list(params.architectures)


def chosen(seed: int | None) -> int:
    """Returns the seed of a model, by default the first. Raises `PipelineError` if no model is trained with it."""
    seeds = load_params().train.seeds
    if seed is not None and seed not in seeds:
        raise PipelineError(f"--seed: expected one of train.seeds ({', '.join(map(str, seeds))}), found {seed}")
    return seeds[0] if seed is None else seed


def described(name: str, seed: int) -> str:
    """Describes a model: `cnn`, or `cnn, seed 10` if it is trained with several seeds."""
    return f"{name}, seed {seed}" if len(load_params().train.seeds) > 1 else name


def predict(name: str, seed: int, images: np.ndarray) -> np.ndarray:
    """Returns class probabilities, float32 (n, classes), for images (n, height, width, 1)."""
    from stages.models.building import load_model

    params, dataset = load_params(), Dataset.read(results.TEST_DATA)
    model = load_model(results.model(name, seed), name, params.architecture(name), dataset, params.train.kernels)
    return model.predict(images, batch_size=BATCH, verbose=0)


def best() -> str:
    """Returns the architecture with the best test accuracy, as a mean over its seeds."""
    predictions = {name: read_predictions(WORKSPACE, name) for name in load_params().architectures}
    accuracy = {name: item.accuracy for name, item in predictions.items() if item}
    if not accuracy:
        raise PipelineError(f"{results.METRICS}/: no architecture is evaluated yet; run: make repro")
    return max(sorted(accuracy), key=accuracy.__getitem__)
