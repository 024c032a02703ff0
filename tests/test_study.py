"""`make study`: the tutorials' claims over many seeds, and a test of the comparison of recipes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.results.predictions import Predictions
from tools.common import results
from tools.study import __main__ as study
from tools.study import honesty
from tools.study.claims import CLAIMS, claims_table

from .reviews import of_models

IMAGES, CLASSES = 2000, 10


def recipe(accuracy: float, seeds: int, random: np.random.Generator) -> Predictions:
    """Models that err mostly on the same, difficult images, each also on others."""
    label = np.arange(IMAGES) % CLASSES
    difficult = np.linspace(0, 1, IMAGES) > accuracy
    right = ~difficult ^ (random.random((seeds, IMAGES)) < 0.01)
    return of_models(label, np.where(right, label, (label + 1) % CLASSES), np.full(IMAGES, 0.9))


def test_a_claim_holds_only_if_its_difference_is_larger_than_chance() -> None:
    random = np.random.default_rng(1)
    accuracies = {"mlp_256": 0.8, "mlp_1000": 0.9, "mlp_1000_dropout": 0.9, "mlp_1000x2_dropout": 0.85}
    accuracies |= {"cnn_1x28x28": 0.8, "cnn": 0.9}
    models = {name: recipe(accuracy, 5, random) for name, accuracy in accuracies.items()}
    found = claims_table(models, 0.95)
    assert found["verdict"].tolist() == ["holds", "not shown", "the reverse holds", "holds"]
    assert found["difference"].tolist() == pytest.approx([10, 0, -5, 10], abs=1)
    assert (found["margin"] < 5).all()


def test_a_comparison_finds_few_differences_of_a_recipe_with_itself_and_many_of_others(monkeypatch) -> None:
    monkeypatch.setattr(honesty, "DRAWS", 100)
    random = np.random.default_rng(1)
    found = honesty.honesty_table({"one": recipe(0.9, 20, random), "two": recipe(0.88, 20, random)}, 0.95)
    alone = found["base"] == found["head"]
    assert (found[alone]["found"] < 0.1).all()
    assert (found[~alone & (found["seeds"] == 5)]["found"] > 0.9).all()
    assert found[~alone]["difference"].to_numpy() == pytest.approx(-2, abs=0.5)


def test_a_study_writes_its_tables_picture_and_page(project, monkeypatch) -> None:
    def train(_: Path, names: list[str], seeds: list[int]) -> dict[str, Predictions]:
        return {name: recipe(0.9, len(seeds), np.random.default_rng(1)) for name in names}

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(honesty, "DRAWS", 10)
    monkeypatch.setattr("sys.argv", ["study"])
    monkeypatch.chdir(project.path)
    path = project.path / "docs/studies/params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        yaml.safe_dump({"train": {"seeds": [10, 11, 12]}, "more": {"mlp_256": 2, "mlp_1000": 0}}, sort_keys=False)
    )
    project.commit("a study")
    study.main()
    written = project.run("git", "status", "--porcelain", "--untracked-files=all").stdout.split()[1::2]
    assert set(written) == {f"docs/studies/{name}" for name in ("README.md", "claims.csv", "claims.png", "honesty.csv")}
    found = pd.read_csv(path.parent / "honesty.csv").groupby(["base", "head"])["seeds"].agg(list)
    assert found.to_dict() == {("mlp_256", "mlp_256"): [2], ("mlp_256", "mlp_1000"): [2, 3]}, "too few seeds for others"
    page = (path.parent / "README.md").read_text()
    assert all(f"| {claim}: `{base}` → `{head}` |" in page for base, head, claim in CLAIMS)


TRAIN = "from pathlib import Path; from tools.study.__main__ import train; train(Path('studied'), ['cnn'], [10])"


def test_a_study_restores_what_is_trained_and_leaves_the_project_alone(project) -> None:
    printed = project.run("python", "-c", TRAIN).stdout
    assert "train@cnn" in printed
    assert "mlp_256" not in printed
    assert "trained with" not in printed, "it is in the cache"
    path = results.predictions("cnn")
    assert (project.path / "studied" / path).read_bytes() == (project.path / path).read_bytes()
    assert project.run("git", "status", "--porcelain").stdout == "?? studied/\n"
