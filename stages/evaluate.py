"""Stage 4: scores one trained model on the test set.

Writes the metrics and the prediction for every test image. Copies the training history, which train
leaves in DVC's cache, to a file in git.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from stages.common.arrays import Dataset, load_prepared
from stages.common.errors import PipelineError, command
from stages.common.files import write_columns, write_json, write_text
from stages.common.kernels import Kernels, choose_kernels
from stages.common.models import import_keras, load_model
from stages.common.params import load_params
from stages.common.versions import check_versions


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Computes the test metrics: accuracy, loss and errors.

    `loss` is the mean categorical cross-entropy in nats, whatever loss the model was trained with. Precision and recall
    of each class follow from the predictions (`stages.common.tables.class_figures`).

    Args:
        labels: integers (n,).
        probabilities: float32 (n, classes).
    """
    errors = int((labels != probabilities.argmax(axis=1)).sum())
    return {
        "accuracy": 1 - errors / len(labels),
        "loss": float(log_loss(labels, probabilities, labels=list(range(probabilities.shape[1])))),
        "errors": errors,
    }


def prediction_columns(dataset: str, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Lists the predictions by column, in the order of the test set, and the confusion counts that DVC draws.

    Args:
        dataset: its name.
        labels: integers (n,).
        probabilities: float32 (n, classes).

    Returns:
        `label`, `prediction` and `probability` (that of the prediction), lists of n; and `confusion`,
        a row for each pair of label and prediction that occurs. One small file in git holds both: DVC's plots
        draw a list of mappings and ignore lists of numbers.
    """
    table = pd.DataFrame({"label": labels, "prediction": probabilities.argmax(axis=1)})
    counts = table.groupby(["label", "prediction"]).size().reset_index(name="images")
    return {
        "dataset": dataset,
        "label": table["label"].tolist(),
        "prediction": table["prediction"].tolist(),
        "probability": probabilities.max(axis=1).tolist(),
        "confusion": [{"dataset": dataset, **row} for row in counts.to_dict("records")],
    }


def overfitting(history: pd.DataFrame) -> dict[str, float]:
    """Computes the accuracies after the last epoch and their gap, train minus validation; {} without validation.

    `history` has the columns of `stages.train.HISTORY_COLUMNS`.
    """
    last = history[(history["epoch"] == history["epoch"].max()) & (history["metric"] == "accuracy")]
    accuracy = last.set_index("split")["value"]
    if "validation" not in accuracy:
        return {}
    return {
        "train_accuracy": float(accuracy["train"]),
        "validation_accuracy": float(accuracy["validation"]),
        "train_validation_gap": float(accuracy["train"] - accuracy["validation"]),
    }


def rounded(value: Any, decimals: int) -> Any:
    """Copies nested dictionaries and lists, and rounds every float in them."""
    if isinstance(value, dict):
        return {key: rounded(item, decimals) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, decimals) for item in value]
    return round(value, decimals) if isinstance(value, float) else value


def predict(path: Path, images: np.ndarray, batch_size: int, kernels: Kernels) -> tuple[np.ndarray, int]:
    """Loads a saved model; returns its class probabilities, float32 (n, classes), and its number of parameters."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such model; train it with: dvc repro train@{path.stem}")
    import_keras()
    choose_kernels(kernels)
    model = load_model(path)
    return model.predict(images, batch_size=batch_size, verbose=0), model.count_params()


@command
def main() -> None:
    """Evaluates one trained architecture on the prepared test images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("model", type=Path, help="the model that train wrote")
    parser.add_argument("history", type=Path, help="the history that train wrote")
    parser.add_argument("metrics", type=Path, help="the metrics to write, .json")
    parser.add_argument("history_copy", type=Path, help="the copy of the history to write, .csv")
    parser.add_argument("predictions", type=Path, help="the predictions to write, .json")
    arguments = parser.parse_args()
    check_versions("keras", "numpy", "tables")

    params = load_params()
    settings = params.evaluate
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, one_hot = load_prepared(arguments.prepared, "test")
    labels = one_hot.argmax(axis=1)
    probabilities, parameters = predict(arguments.model, images, settings.batch_size, params.train.kernels)

    metrics = {"dataset": dataset.dataset, **score(labels, probabilities)}
    metrics |= overfitting(pd.read_csv(arguments.history)) | {"parameters": parameters}
    predictions = prediction_columns(dataset.dataset, labels, probabilities)
    write_json(arguments.metrics, rounded(metrics, settings.decimals))
    write_text(arguments.history_copy, arguments.history.read_text(encoding="utf-8"))
    write_columns(arguments.predictions, rounded(predictions, settings.decimals))
    print(f"{arguments.architecture}: test accuracy {metrics['accuracy']:.4f} on {dataset.dataset}")


if __name__ == "__main__":
    main()
