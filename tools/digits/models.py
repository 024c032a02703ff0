"""Chooses trained models, and asks them."""

from collections.abc import Sequence

import numpy as np

from stages.common.prepared import Dataset
from stages.support.errors import PipelineError
from stages.support.notation import nearest
from stages.support.params import PARAMS_PATH, load_params
from tools.common import results
from tools.common.comparison import read_metrics
from tools.common.revision import WORKSPACE

BATCH = 1000  # images predicted at once

Model = tuple[str, int]  # architecture and seed


def reported(names: list[str]) -> list[str]:
    """Checks that params.yaml has these architectures and ensembles. Returns them, or all if the list is empty."""
    known = load_params().reported
    for name in names:
        if name not in known:
            raise PipelineError(f"{PARAMS_PATH}: no architecture or ensemble '{name}'{nearest(name, known)}")
    return names or known


def chosen(name: str, seed: int | None) -> list[Model]:
    """Chooses the model of an architecture with this seed (`None`: the first), or all members of an ensemble.

    Raises `PipelineError` if no model is trained with this seed, or if one is given for an ensemble.
    """
    params = load_params()
    seeds = params.train.seeds
    if name in params.ensembles:
        if seed is not None:
            raise PipelineError(f"--seed: {name} is an ensemble, which has none of its own; leave --seed out")
        return params.ensembles[name].models(seeds)
    if seed is not None and seed not in seeds:
        raise PipelineError(f"--seed: expected one of train.seeds ({', '.join(map(str, seeds))}), found {seed}")
    return [(name, seeds[0] if seed is None else seed)]


def described(name: str, models: Sequence[Model]) -> str:
    """Describes chosen models: `cnn`, or `cnn, seed 10` if it is trained with several seeds."""
    params = load_params()
    several = name in params.architectures and len(params.train.seeds) > 1
    return f"{name}, seed {models[0][1]}" if several else name


def predict(models: Sequence[Model], images: np.ndarray) -> np.ndarray:
    """Class probabilities, the mean of the models', float32 (n, classes), for images (n, height, width, 1)."""
    from stages.models.building import load_model

    params, dataset = load_params(), Dataset.read(results.PREPARED / "dataset.json")
    kernels = params.train.kernels
    loaded = (
        load_model(results.model(*each), each[0], params.architecture(each[0]), dataset, kernels) for each in models
    )
    return np.mean([model.predict(images, batch_size=BATCH, verbose=0) for model in loaded], axis=0)


def best() -> str:
    """The architecture with the best test accuracy, as a mean over its seeds."""
    accuracy = {}
    for name in load_params().architectures:
        if results.metrics(name).exists():
            accuracy[name] = read_metrics(WORKSPACE, name).accuracy
    if not accuracy:
        raise PipelineError(f"{results.METRICS}/: no architecture is evaluated yet; run: make repro")
    return max(sorted(accuracy), key=accuracy.get)
