"""Stage 4: scores one trained model on the test set.

Writes the prediction for every test image, the loss, and the training history, which train leaves in DVC's cache, to
one file in git.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from stages.common.arrays import Dataset, load_prepared
from stages.common.errors import PipelineError, command
from stages.common.evaluation import Evaluation
from stages.common.kernels import Kernels, choose_kernels
from stages.common.models import import_keras, load_model
from stages.common.params import load_params
from stages.common.versions import check_versions


def predict(path: Path, images: np.ndarray, batch_size: int, kernels: Kernels) -> tuple[np.ndarray, int]:
    """Loads a saved model; returns its class probabilities, float32 (n, classes), and its number of parameters."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such model; train it with: dvc repro train@{path.parent.name}-{path.stem}")
    import_keras()
    choose_kernels(kernels)
    model = load_model(path)
    return model.predict(images, batch_size=batch_size, verbose=0), model.count_params()


@command
def main() -> None:
    """Evaluates one architecture, trained with one seed, on the prepared test images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("seed", type=int, help="the seed that it was trained with")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("model", type=Path, help="the model that train wrote")
    parser.add_argument("history", type=Path, help="the history that train wrote")
    parser.add_argument("evaluation", type=Path, help="the predictions and figures to write, .json")
    arguments = parser.parse_args()
    check_versions("keras", "numpy", "tables")

    params = load_params()
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, one_hot = load_prepared(arguments.prepared, "test")
    labels = one_hot.argmax(axis=1)
    probabilities, parameters = predict(arguments.model, images, params.evaluate.batch_size, params.train.kernels)

    history = pd.read_csv(arguments.history)[["epoch", "split", "metric", "value"]]
    evaluation = Evaluation.of(
        dataset.dataset,
        labels,
        probabilities,
        loss=float(log_loss(labels, probabilities, labels=list(range(dataset.classes)))),
        parameters=parameters,
        history=history.values.tolist(),
    )
    evaluation.write(arguments.evaluation, params.evaluate.decimals)
    print(f"{arguments.architecture}-{arguments.seed}: test accuracy {evaluation.accuracy:.4f} on {dataset.dataset}")


if __name__ == "__main__":
    main()
