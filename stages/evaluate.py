"""Stage 4: scores the models of one architecture on the test set.

Writes the metrics, and one file with the predictions for every test image and the histories of the trainings, which
train leaves in DVC's cache.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from stages.common.files import write_json
from stages.common.prepared import Dataset
from stages.models.building import load_model
from stages.results.predictions import HISTORY, Predictions, ensemble_accuracy
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError, command, unreadable
from stages.support.params import Params, load_params
from stages.support.paths import output_path
from stages.support.progress import finish
from stages.support.versions import check_versions

TYPES = {"epoch": "int64", "split": str, "metric": str, "value": "float64"}  # of the columns of a history


def read_history(path: Path, name: str, seed: int) -> list[tuple]:
    """Reads the history that train wrote, as rows (seed, epoch, split, metric, value).

    Raises `PipelineError` if the file is missing or is something else.
    """
    with made_by(f"train@{name}", path):
        with unreadable(path, "the history that train writes"):
            history = pd.read_csv(path, usecols=list(TYPES), dtype=TYPES)
        if not np.isfinite(history["value"]).all() or history.empty:
            raise PipelineError(f"{path}: expected finite numbers, found others or none")
    return list(history.assign(seed=seed)[list(HISTORY)].itertuples(index=False, name=None))


def evaluate(name: str, params: Params, data: Path, models: Path) -> tuple[Predictions, float]:
    """Predicts the test images with the model of each seed; returns also the accuracy of their averaged predictions.

    Raises `PipelineError` if a model or a history cannot be read, or if a prediction is not finite.
    """
    dataset, seeds, decimals = Dataset.read(data), sorted(params.train.seeds), params.evaluate.decimals
    images, one_hot = dataset.load(data)
    labels = one_hot.argmax(axis=1)
    files = [models / f"{seed}.keras" for seed in seeds]
    history = [row for seed in seeds for row in read_history(models / f"{seed}.csv", name, seed)]
    outputs, parameters = [], 0
    for file in files:
        model = load_model(file, name, params.architecture(name), dataset, params.train.kernels)
        parameters = model.count_params()
        outputs.append(model.predict(images, batch_size=params.evaluate.batch_size, verbose=0))
        with made_by(f"train@{name}", file):
            if not np.isfinite(outputs[-1]).all():
                raise PipelineError(f"{file}: expected finite probabilities, found others")
    probabilities, classes = np.stack(outputs), list(range(dataset.classes))
    predictions = Predictions(
        name,
        dataset.dataset,
        dataset.classes,
        tuple(seeds),
        tuple(hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() for file in files),
        parameters,
        tuple(round(float(log_loss(labels, output, labels=classes)), decimals) for output in outputs),
        history,
        labels,
        probabilities.argmax(axis=2),
        probabilities.max(axis=2).astype(float),
        tuple(dataset.class_names),
    )
    return predictions, ensemble_accuracy(labels, probabilities)


@command
def main() -> None:
    """Evaluates the models of one architecture on the prepared test images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("data", type=Path, help="the folder of test images that preprocess wrote")
    parser.add_argument("models", type=Path, help="the folder that train wrote")
    parser.add_argument("predictions", type=output_path, help="the predictions to write, .json")
    parser.add_argument("metrics", type=output_path, help="the metrics to write, .json")
    arguments = parser.parse_args()
    check_versions("common", "models", "results")

    params = load_params()
    predictions, ensemble = evaluate(arguments.architecture, params, arguments.data, arguments.models)
    decimals, metrics = params.evaluate.decimals, predictions.metrics(ensemble)
    predictions.write(arguments.predictions, decimals)
    rounded = {key: round(value, decimals) if isinstance(value, float) else value for key, value in metrics.items()}
    write_json(arguments.metrics, rounded)
    finish(
        f"{predictions.name}: test accuracy {predictions.accuracy:.4f} on {predictions.dataset}, {predictions.several}"
    )


if __name__ == "__main__":
    main()
