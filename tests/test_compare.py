"""`make compare`: compares the results of two runs by their predictions."""

import numpy as np
import pytest

from tools.compare.__main__ import row

from .conftest import Project
from .reviews import of_models

LABELS = [0, 1, 2, 2]
BEFORE = of_models(np.array(LABELS), np.array([0, 1, 2, 0]), np.array([0.9, 0.8, 0.7, 0.6]))


@pytest.mark.parametrize(
    ("prediction", "probability", "expected"),
    [
        ([0, 1, 2, 0], [0.9, 0.8, 0.7, 0.6], "4 of 4 0.000 0.7500 → 0.7500 same bytes"),
        ([0, 1, 2, 0], [0.9, 0.801, 0.7, 0.6], "4 of 4 0.001 0.7500 → 0.7500 same within rounding"),
        ([0, 1, 2, 0], [0.9, 0.82, 0.7, 0.6], "4 of 4 0.020 0.7500 → 0.7500 same predictions, other probabilities"),
        ([0, 1, 2, 2], [0.9, 0.8, 0.705, 0.1], "3 of 4 0.005 0.7500 → 1.0000 1 of 4 predictions differ"),
        ([2, 2, 0, 1], [0.5, 0.5, 0.5, 0.5], "0 of 4 0.000 0.7500 → 0.0000 4 of 4 predictions differ"),
    ],
)
def test_the_verdict_goes_by_predictions(prediction: list, probability: list, expected: str) -> None:
    after = of_models(BEFORE.label, np.array(prediction), np.array(probability))
    assert " ".join(row("mlp", BEFORE, after, decimals=3).split()) == f"mlp {expected}"


def test_predictions_of_other_images_are_not_compared() -> None:
    after = of_models(np.array([0]), np.array([0]), np.array([1.0]))
    assert row("mlp", BEFORE, after, decimals=3).endswith("0.7500 → 1.0000  other test images: not compared")


def compare(project: Project, *arguments: str) -> dict[str, str]:
    """What the tool prints, each line by its first word."""
    lines = project.run("python", "-m", "tools.compare", *arguments).stdout.splitlines()
    return {words[0].rstrip(":"): " ".join(words[1:]) for words in (line.split() for line in lines)}


def test_results_that_did_not_change_are_the_same(project) -> None:
    output = compare(project)
    count = len(project.run("git", "ls-files", "data", "metrics", "plots").stdout.split())
    assert output["data"].startswith("set: same, tiny digits (")
    assert output["params"] == "same"
    assert output["files"] == f"{count} of {count} results in git are identical"
    assert output["cnn"].endswith("same bytes")
    assert output["mlp_256"].startswith("100 of 100")


def test_what_differs_is_reported_and_the_rest_still_compared(project) -> None:
    project.edit_json("data/raw/mnist.json", lambda description: description.update(sha256="0" * 64))
    project.edit_json(
        "metrics/predictions/cnn.json",
        lambda content: content["prediction"][0].insert(0, content["prediction"][0].pop(0) ^ 1),
    )
    (project.path / "metrics/predictions/mlp_256.json").unlink()
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=3))
    project.edit(lambda params: params["architectures"].update(seventh=params["architectures"]["cnn"]))

    output = compare(project, "HEAD")
    commit = project.run("git", "rev-parse", "HEAD").stdout[:7]
    assert output["data"].startswith("set: differs, tiny digits (")
    assert output["params"] == "differ in architectures.cnn, architectures.seventh"
    different = "data/raw/mnist.json, metrics/predictions/cnn.json, metrics/predictions/mlp_256.json"
    assert output["files"].endswith(f"; different: {different}")
    assert output["cnn"].endswith("1 of 100 predictions differ")
    assert output["mlp_256"] == "no predictions in workspace"
    assert output["seventh"] == f"no predictions in HEAD ({commit}) or workspace"


def test_a_revision_that_does_not_exist_is_one_line(project) -> None:
    done = project.run("python", "-m", "tools.compare", "nonsense", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nonsense: expected a git revision, such as main or HEAD~1 (")
    assert "Traceback" not in done.stderr


def test_all_seeds_are_compared_together_and_only_with_the_same_seeds(seeded) -> None:
    output = compare(seeded)
    assert output["cnn"].startswith("200 of 200 0.000000")
    output = compare(seeded, "HEAD~1")
    assert output["params"] == "differ in train"
    assert output["cnn"].endswith("other seeds: not compared")
