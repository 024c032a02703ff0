"""Several seeds for each architecture: metrics, errors, ensembles, and reviews that compare recipes."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stages.results.evaluation import Evaluation, average

from stages.results.tables import errors
from tools.common.statistics import accuracy_interval, difference

from .conftest import Project, shared_by_workers
from .reviews import pages, review

SEEDS = (10, 11)


@pytest.fixture(scope="module")
def edited(seeded, tmp_path_factory) -> Project:
    """The built project, with one seed; then a commit with two seeds and an ensemble; then one that edits mlp_256."""

    def more_epochs(params: dict) -> None:
        params["architectures"]["mlp_256"]["fit"].update(epochs=12)

    def make(folder: Path) -> None:
        seeded.clone(folder / "project").edit_and_commit(more_epochs, "more epochs")

    return Project(shared_by_workers(tmp_path_factory, "edited", make) / "project")


@pytest.fixture
def clone(edited, tmp_path) -> Project:
    """A fresh clone: no cache, no remote, no data."""
    return edited.git_clone(tmp_path / "clone")


def evaluations(project: Project, name: str) -> list[Evaluation]:
    paths = [project.path / f"metrics/seeds/{name}/{seed}.json" for seed in SEEDS]
    return [Evaluation.parse(path.read_bytes(), str(path)) for path in paths]


def test_metrics_are_means_over_the_seeds_and_their_spread(edited) -> None:
    models = evaluations(edited, "mlp_256")
    accuracy = np.array([(model.label == model.prediction).mean() for model in models])
    assert len(set(accuracy)) > 1, "the seeds make no difference"
    metrics = json.loads((edited.path / "metrics/mlp_256.json").read_text())
    assert metrics["accuracy"] == pytest.approx(accuracy.mean(), abs=1e-6)
    assert metrics["accuracy_sd"] == pytest.approx(np.std(accuracy, ddof=1), abs=1e-6)
    assert (metrics["accuracy_min"], metrics["accuracy_max"]) == (accuracy.min(), accuracy.max())
    assert metrics["errors"] == pytest.approx(100 * (1 - accuracy.mean()))
    assert metrics["loss"] == pytest.approx(np.mean([model.loss for model in models]), abs=1e-6)

    diff = edited.run("dvc", "metrics", "diff", "HEAD~1", "--json").stdout
    changed = {path: set(keys) for path, keys in json.loads(diff).items() if "mlp_256" in path}
    assert set(changed) == {"metrics/mlp_256.json", *(f"metrics/seeds/mlp_256/{seed}.json" for seed in SEEDS)}
    assert sum(map(len, changed.values())) <= 12


def test_curves_have_the_band_of_the_seeds_and_confusion_is_their_sum(edited) -> None:
    history = pd.read_csv(edited.path / "plots/history/mlp_256.csv")
    rows = pd.DataFrame(
        [row for model in evaluations(edited, "mlp_256") for row in model.history],
        columns=["epoch", "split", "metric", "value"],
    )
    last = rows[(rows["epoch"] == 12) & (rows["split"] == "validation") & (rows["metric"] == "loss")]["value"]
    found = history[(history["epoch"] == 12) & (history["split"] == "validation") & (history["metric"] == "loss")]
    assert found[["value", "low", "high"]].to_numpy()[0] == pytest.approx([last.mean(), last.min(), last.max()])
    counts = pd.read_csv(edited.path / "plots/tables/mlp_256/confusion.csv", index_col="label")
    assert counts.to_numpy().sum() == 200


def test_errors_of_most_seeds_come_first_with_the_wrong_prediction_that_most_give() -> None:
    label = np.array([0, 0, 0, 0])
    prediction = np.array([[0, 3, 2, 1], [0, 3, 0, 4], [0, 5, 0, 1]])
    probability = np.array([[1, 0.5, 0.99, 0.6], [1, 0.7, 1, 0.9], [1, 0.9, 1, 0.8]])
    assert errors(label, prediction, probability).to_numpy().tolist() == [
        [3, 0, 1, 3, 0.7],
        [1, 0, 3, 3, 0.6],
        [2, 0, 2, 1, 0.99],
    ]


PREDICT = """\
import sys
from pathlib import Path
import numpy as np
from stages.common.prepared import Dataset
from stages.models.building import load_model
from stages.support.params import load_params
images, architecture = np.load("data/prepared/x_test.npy"), load_params().architecture("mlp_256")
dataset = Dataset.read(Path("data/prepared/dataset.json"))
models = [load_model(Path(path), "mlp_256", architecture, dataset, "portable") for path in sys.argv[2:]]
np.save(sys.argv[1], np.mean([model.predict(images, batch_size=100, verbose=0) for model in models], axis=0))
"""


def test_an_ensemble_averages_the_probabilities_of_its_members(edited, tmp_path) -> None:
    members = [f"data/models/{member}.keras" for member in ("mlp_256/10", "mlp_256/11")]
    edited.run("python", "-c", PREDICT, str(tmp_path / "mean.npy"), *members)
    mean = np.load(tmp_path / "mean.npy")
    path = edited.path / "metrics/ensembles/both.json"
    ensemble = Evaluation.parse(path.read_bytes(), str(path))
    assert np.array_equal(ensemble.prediction, mean.argmax(axis=1))
    of_label = mean[np.arange(100), ensemble.label]
    metrics = json.loads((edited.path / "metrics/both.json").read_text())
    assert metrics["loss"] == pytest.approx(-np.log(of_label).mean(), abs=1e-3)
    assert metrics["errors"] == (ensemble.prediction != ensemble.label).sum()
    assert "both" in (edited.path / "plots/comparison.csv").read_text()
    assert (edited.path / "plots/worst_errors/both.png").exists()


def test_averaging_keeps_the_probability_of_the_label_however_small() -> None:
    label = np.array([1, 0])
    sides = [np.array([[0.999995, 0.000005], [0.2, 0.8]]), np.array([[0.4, 0.6], [1.0, 0.0]])]
    members = [Evaluation.of("tiny", label, side, loss=0, parameters=1, history=[]) for side in sides]
    found = average(members, 2)
    assert found.loss == pytest.approx(-np.log([0.3000025, 0.6]).mean())
    assert found.prediction.tolist() == [0, 0]


def test_a_review_compares_recipes_and_says_what_it_can_tell(clone) -> None:
    printed = review(clone, "HEAD~1", "HEAD")
    told = re.search(r"mlp_256: (\S+) % → (\S+) %, (\S+) ± (\S+) points \(2 seeds\), (.*)", printed)
    base, head = (
        np.stack([model.label == model.prediction for model in evaluations(side, "mlp_256")])
        for side in (checkout(clone, "HEAD~1"), checkout(clone, "HEAD"))
    )
    found = difference(base, head)
    assert float(told[3]) == round(100 * (head.mean() - base.mean()), 2)
    assert float(told[4]) == round(100 * found.margin(0.95), 2)
    for page in pages(clone):
        assert "other seeds and other test images" in page
        assert "two trained models, not two recipes" in page, "the ensemble is one model on each side"
        assert f"{told[3]} ± {told[4]}" in page
    assert re.search(r"wrong [0-2] → [0-2]", pages(clone)[1])


def checkout(clone: Project, revision: str) -> Project:
    folder = clone.path.parent / revision.replace("~", "-")
    clone.run("git", "worktree", "add", "-q", "--detach", str(folder), revision)
    return Project(folder)


def test_a_base_with_one_seed_is_compared_and_the_page_says_how(clone) -> None:
    assert re.search(
        r"cnn: \S+ % → \S+ %, \S+ ± \S+ points \(one seed → 2 seeds\), ", review(clone, "HEAD~2", "HEAD~1")
    )
    for page in pages(clone):
        assert "cnn, mlp_256: other seeds than in base." in page


def test_a_base_from_before_there_were_seeds_is_compared(clone) -> None:
    clone.run("git", "checkout", "-q", "HEAD~2")
    for name in ("cnn", "mlp_256"):
        content = json.loads((clone.path / f"metrics/seeds/{name}/10.json").read_text())
        columns = {key: content[key] for key in ("label", "prediction", "probability")}
        (clone.path / "plots/predictions").mkdir(exist_ok=True)
        (clone.path / f"plots/predictions/{name}.json").write_text(json.dumps(columns))
    clone.run("git", "rm", "-qr", "metrics/seeds")
    clone.edit(lambda params: params.update(train={"seed": 10, "kernels": "portable"}))
    clone.commit("as it was before")
    clone.run("git", "tag", "before")
    clone.run("git", "checkout", "-q", "origin/HEAD")
    printed = review(clone, "before", "HEAD~1")
    assert re.search(r"mlp_256: \S+ % → \S+ %, \S+ ± \S+ points \(one seed → 2 seeds\), ", printed)
    assert "same predictions as in base: cnn, mlp_256" in review(clone, "before", "HEAD~2")


def draw(rate: np.ndarray, seeds: int, random: np.random.Generator) -> np.ndarray:
    """Models that are right on each image with its own probability, and differ as a whole by seed."""
    luck = random.normal(0, 0.3, (seeds, 1))
    return random.random((seeds, len(rate))) < 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - luck))


@pytest.mark.parametrize("seeds", [(3, 3), (1, 3), (2, 5)])
def test_recipes_that_are_the_same_are_seldom_said_to_differ(seeds: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    rates = [1 - random.beta(0.05, 1, 2000).clip(1e-6, 1 - 1e-6) for _ in range(200)]
    found = [difference(*(draw(rate, count, random) for count in seeds)).p for rate in rates]
    assert np.mean(np.array(found) < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(found))


def test_recipes_that_differ_are_told_apart_and_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(0)
    told, covered = 0, 0
    for _ in range(100):
        rate = 1 - random.beta(0.05, 1, 2000).clip(1e-6, 1 - 1e-6)
        better = rate + 0.6 * (1 - rate)
        told += difference(draw(rate, 3, random), draw(better, 3, random)).p < 0.05
        low, high = accuracy_interval(draw(rate, 3, random), 0.95)
        covered += low < 0.953 < high  # the mean rate of any images
    assert told >= 90
    assert covered >= 90


def test_one_seed_on_each_side_is_mcnemars_test() -> None:
    base, head = np.zeros((1, 100), bool), np.zeros((1, 100), bool)
    head[0, :8] = base[0, 8] = True
    assert difference(base, head).p == pytest.approx(2 * 10 / 2**9)
