"""Several seeds for each architecture: results, and reviews that compare recipes."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from stages.common.prepared import Dataset
from stages.models.models import import_keras
from tools.common.revision import Revision
from tools.common.statistics import difference

from .conftest import Project, with_commit
from .reviews import pages, predictions, review


@pytest.fixture(scope="module")
def edited(seeded, tmp_path_factory) -> Project:
    """The built project, with one seed; then a commit with two seeds; then one that edits mlp_256."""
    return with_commit(
        tmp_path_factory, seeded, "edited", lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=12)
    )


def test_each_seed_is_a_row_of_a_table_and_curves_have_the_band_of_the_seeds(edited) -> None:
    models = predictions(edited, "HEAD", "mlp_256")
    table = pd.read_csv(edited.path / "plots/tables/mlp_256/seeds.csv", index_col="seed")
    assert table.index.tolist() == [10, 11]
    assert table["accuracy"].tolist() == models.right.mean(axis=1).tolist()
    last = {row[0]: row[4] for row in models.history if row[1:4] == (12, "validation", "loss")}
    assert len(set(last.values())) == 2, "the seeds make no difference"
    curves = pd.read_csv(edited.path / "plots/history/mlp_256.csv").set_index(["epoch", "split", "metric"])
    band = curves.loc[(12, "validation", "loss"), ["value", "low", "high"]].tolist()
    assert band == pytest.approx([sum(last.values()) / 2, min(last.values()), max(last.values())], abs=1e-6)


def test_the_ensemble_of_the_recorded_models_averages_their_probabilities(edited) -> None:
    data, files = edited.path / "data/prepared/test", [f"data/models/mlp_256/{seed}.keras" for seed in (10, 11)]
    images, _ = Dataset.read(data).load(data)
    recorded = [import_keras().saving.load_model(edited.path / file) for file in files]
    probabilities = np.stack([model.predict(images, verbose=0) for model in recorded])
    models = predictions(edited, "HEAD", "mlp_256")
    assert np.array_equal(probabilities.argmax(axis=2), models.prediction)
    assert probabilities.max(axis=2) == pytest.approx(models.probability, abs=1e-6)
    metrics = json.loads((edited.path / "metrics/mlp_256.json").read_text())
    assert metrics["ensemble"] == (probabilities.mean(axis=0).argmax(axis=1) == models.label).mean()
    assert list(models.models) == [Revision("edited", None, edited.path).digest(file) for file in files]


def test_a_review_compares_recipes_and_says_what_it_can_tell_with_one_seed_too(edited, tmp_path) -> None:
    clone = edited.git_clone(tmp_path / "clone")
    printed = review(clone, "HEAD~1", "HEAD")
    points, margin = re.search(r"mlp_256: \S+ % → \S+ %, (\S+) ± (\S+) points \(2 seeds\), .", printed).groups()
    base, head = (predictions(clone, side, "mlp_256").right for side in ("HEAD~1", "HEAD"))
    assert float(points) == round(100 * (head.mean() - base.mean()), 2)
    assert float(margin) == round(100 * difference(base, head).margin(0.95), 2)
    for page in pages(clone):
        assert "other seeds and other test images" in page
        assert f"{points} ± {margin}" in page
    assert re.search(r"wrong [0-2] → [0-2]", pages(clone)[1])

    printed = review(clone, "HEAD~2", "HEAD~1")
    assert re.search(r"cnn: \S+ % → \S+ %, \S+ ± \S+ points \(one seed → 2 seeds\), ", printed)
    for page in pages(clone):
        assert "cnn, mlp_256: other seeds than in base." in page
