"""Stage 4: scores one trained model on the test set.

Writes the prediction for every test image, the loss, and the training history, which train leaves in DVC's cache, to
one file in git.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from stages.common.building import load_model
from stages.common.errors import PipelineError, command, unreadable
from stages.common.evaluation import HISTORY, Evaluation
from stages.common.files import output_path
from stages.common.params import load_params
from stages.common.prepared import Dataset
from stages.common.versions import check_versions


def read_history(path: Path, stage: str) -> list[list]:
    """Reads the history that train wrote, as rows (epoch, split, metric, value).

    Raises `PipelineError`, which names the stage to run, if the file is missing or is something else.
    """
    columns, hint = list(HISTORY), f"make it anew with: dvc repro {stage}"
    with unreadable(path, "the history that train writes", hint):
        history = pd.read_csv(path, usecols=columns, dtype=HISTORY)[columns]
    if not np.isfinite(history["value"]).all() or history.empty:
        raise PipelineError(f"{path}: expected finite numbers, found others or none", hint)
    return history.values.tolist()


@command
def main() -> None:
    """Evaluates one architecture, trained with one seed, on the prepared test images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("seed", type=int, help="the seed that it was trained with")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("model", type=Path, help="the model that train wrote")
    parser.add_argument("history", type=Path, help="the history that train wrote")
    parser.add_argument("evaluation", type=output_path, help="the predictions and figures to write, .json")
    arguments = parser.parse_args()
    check_versions("keras", "numpy", "tables")

    params = load_params()
    name = arguments.architecture
    architecture = params.architecture(name)
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, one_hot = dataset.load(arguments.prepared, "test")
    history = read_history(arguments.history, f"train@{name}-{arguments.seed}")

    model = load_model(arguments.model, name, architecture, dataset, params.train.kernels)
    probabilities = model.predict(images, batch_size=params.evaluate.batch_size, verbose=0)
    if not np.isfinite(probabilities).all():
        hint = f"train it anew with: dvc repro train@{name}-{arguments.seed}"
        raise PipelineError(f"{arguments.model}: expected finite probabilities, found others", hint)
    labels = one_hot.argmax(axis=1)
    evaluation = Evaluation.of(
        dataset.dataset,
        labels,
        probabilities,
        loss=float(log_loss(labels, probabilities, labels=list(range(dataset.classes)))),
        parameters=model.count_params(),
        history=history,
    )
    evaluation.write(arguments.evaluation, params.evaluate.decimals)
    print(f"{name}-{arguments.seed}: test accuracy {evaluation.accuracy:.4f} on {dataset.dataset}")


if __name__ == "__main__":
    main()
