"""Runs `tools.review` and reads what it wrote."""

import numpy as np

from stages.results.predictions import Predictions

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
    content = project.run("git", "show", f"{revision}:metrics/predictions/{name}.json").stdout
    return Predictions.parse(content.encode(), name, name)


def of_models(label: np.ndarray, prediction: np.ndarray, probability: np.ndarray) -> Predictions:
    """The predictions of one model (n,), or of several (seeds, n)."""
    prediction = np.atleast_2d(prediction)
    seeds = tuple(range(10, 10 + len(prediction)))
    history = [(seed, 1, "train", metric, 0.5) for seed in seeds for metric in ("accuracy", "loss")]
    return Predictions(
        "tested",
        "tiny digits",
        10,
        seeds,
        tuple(f"{seed:032x}" for seed in seeds),
        7,
        tuple(0.5 for _ in seeds),
        history,
        label,
        prediction,
        np.broadcast_to(probability, prediction.shape),
    )
