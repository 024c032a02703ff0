"""Runs `tools.review` and reads what it wrote."""

import json

import numpy as np

from tools.common.predictions import Predictions

from .conftest import Project


def review(project: Project, *arguments: str, status: int = 0) -> str:
    """Runs the command; returns what it printed."""
    done = project.run("python", "-m", "tools.review", *arguments, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def pages(project: Project) -> tuple[str, str]:
    """The Markdown and the HTML page that `review` wrote."""
    folder = project.path / "review"
    return (folder / "review.md").read_text(), (folder / "review.html").read_text()


def predictions(project: Project, revision: str, name: str) -> Predictions:
    content = json.loads(project.run("git", "show", f"{revision}:metrics/seeds/{name}/10.json").stdout)
    return of_models(*(np.array(content[key]) for key in ("label", "prediction", "probability")))


def of_models(label: np.ndarray, prediction: np.ndarray, probability: np.ndarray) -> Predictions:
    """The predictions of one model (n,), or of several (seeds, n)."""
    prediction = np.atleast_2d(prediction)
    seeds = tuple(range(10, 10 + len(prediction)))
    return Predictions(seeds, label, prediction, np.broadcast_to(probability, prediction.shape))
