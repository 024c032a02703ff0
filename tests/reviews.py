"""Runs `tools.review` and other tools, and reads what they print or write; makes results to review."""

from functools import partial
from pathlib import Path

import numpy as np

from stages.common.files import write_json
from stages.results.predictions import Predictions, ensemble_accuracy
from tools.common import results
from tools.common.revision import Revision

from .conftest import Project


def printed_by(module: str, project: Project, *arguments: object, status: int = 0) -> str:
    """Runs a module; returns what it printed."""
    done = project.run("python", "-m", module, *map(str, arguments), check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


review = partial(printed_by, "tools.review")


def pages(project: Project) -> tuple[str, str]:
    """The Markdown and the HTML page that `review` wrote."""
    folder = project.path / "review"
    return (folder / "review.md").read_text(), (folder / "review.html").read_text()


def predictions(project: Project, revision: str, name: str) -> Predictions:
    content = project.run("git", "show", f"{revision}:metrics/predictions/{name}.json").stdout
    return Predictions.parse(content.encode(), name, name)


def of_models(
    label: np.ndarray, prediction: np.ndarray, probability: np.ndarray, name: str = "net", classes: int = 10
) -> Predictions:
    """The predictions of one model (n,), or of several (seeds, n), each trained for an epoch without validation."""
    prediction = np.atleast_2d(prediction)
    seeds = tuple(range(10, 10 + len(prediction)))
    return Predictions(
        name,
        "tiny digits",
        classes,
        seeds,
        tuple(f"{seed:032x}" for seed in seeds),
        7,
        tuple(0.5 for _ in seeds),
        [(seed, 1, "train", metric, 0.5) for seed in seeds for metric in ("accuracy", "loss")],
        label,
        prediction,
        np.broadcast_to(probability, prediction.shape),
    )


def write_results(folder: Path, *architectures: Predictions) -> Revision:
    """Writes what reviews and the overview read: description of the data, params.yaml, results as evaluate does."""
    first = architectures[0]
    for predictions in architectures:
        name = predictions.name
        predictions.write(folder / results.predictions(name), 6)
        ensemble = ensemble_accuracy(predictions.label, np.eye(predictions.classes)[predictions.prediction])
        write_json(folder / results.metrics(name), predictions.metrics(ensemble))
    shapes = {"x_train": [9, 8, 8], "y_train": [9], "x_test": [len(first.label), 8, 8], "y_test": [len(first.label)]}
    description = {
        "dataset": first.dataset,
        "source": ["data/own/digits.npz"],
        "sha256": "0" * 64,
        "classes": first.classes,
        "arrays": {name: {"shape": shape, "dtype": "uint8", "sha256": ""} for name, shape in shapes.items()},
    }
    write_json(folder / results.DESCRIPTION, description)
    params = {
        "train": {"seeds": list(first.seeds), "kernels": "native"},
        "overview": {"confidence": 0.95},
        "architectures": {predictions.name: {} for predictions in architectures},
    }
    write_json(folder / "params.yaml", params)
    return Revision("a folder", None, folder)
