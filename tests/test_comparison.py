"""The comparison of all architectures: its tables, what is missing in them, and when the overview is drawn again."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from stages.support.params import Overview, load_params
from tools.common import results
from tools.common.comparison import comparison_table, read_architectures, stale_tables, tables, to_csv
from tools.common.revision import Revision
from tools.common.statistics import wilson_interval

from .conftest import Project
from .reviews import of_models, write_results


def net(name: str, *errors: int, images: int = 20) -> Predictions:
    """An architecture whose models, one for each count, get the first images wrong."""
    prediction = np.stack([(np.arange(images) < count).astype(int) for count in errors])
    return of_models(np.zeros(images, int), prediction, np.ones(images), name, classes=2)


def test_the_table_has_the_figures_of_each_architecture_best_first_then_by_name() -> None:
    validated = replace(
        net("b", 2, 3),
        loss=(0.1, 0.2000004),
        history=[(seed, 1, split, "accuracy", value) for seed in (10, 11) for split, value in
                 (("train", 0.9), ("validation", 0.8))],
    )  # fmt: skip
    table = comparison_table([validated, net("c", 4), net("a", 4), net("d", 1)], 0.9, {"a": 0.79, "b": 0.1, "d": 0.999})
    assert table["architecture"].tolist() == ["d", "b", "a", "c"]
    assert table["published_is"].tolist() == ["above", "below", "inside", ""]
    assert table["published"].tolist()[:3] == [0.999, 0.1, 0.79]
    row = table.loc[1].to_dict()
    assert 0.7 < row.pop("low") < 0.875 < row.pop("high") <= 1
    assert row == {
        "dataset": "tiny digits",
        "architecture": "b",
        "accuracy": 0.875,
        "confidence": 0.9,
        "seeds": 2,
        "accuracy_sd": 0.035355,
        "errors": 2.5,
        "loss": 0.15,
        "parameters": 7,
        "train_validation_gap": 0.1,
        "published": 0.1,
        "published_is": "below",
    }
    low, high = wilson_interval(16, 20, 0.9)
    assert table.loc[3, ["low", "high", "errors"]].tolist() == [low, high, 4]
    assert table.loc[3, ["accuracy_sd", "train_validation_gap", "published"]].isna().all()
    assert to_csv(table).startswith("dataset,architecture,accuracy,low,high,")
    edges = comparison_table([net("c", 4)], 0.9, {"c": low}), comparison_table([net("c", 4)], 0.9, {"c": high})
    assert [table["published_is"][0] for table in edges] == ["inside", "inside"]
    assert comparison_table([net("c", 0, 1, images=1)], 0.9, {"c": 0.5})["published_is"][0] == "", "no interval"


def test_published_accuracies_count_for_their_data_set() -> None:
    for dataset, published in ("tiny digits", 0.5), ("MNIST", math.nan):
        overview = Overview(confidence=0.95, published={"dataset": dataset, "accuracy": {"a": 0.5}})
        np.testing.assert_equal(tables([net("a", 1)], overview)[results.COMPARISON]["published"].tolist(), [published])


def test_the_table_of_all_trainings_counts_the_seeds_of_each_row_where_some_ended_earlier() -> None:
    apart = net("apart", 1, 1, 1)
    apart = replace(apart, history=[*apart.history, (12, 2, "train", "accuracy", 0.75), (12, 2, "train", "loss", 0.5)])
    even = net("even", 1, 2)
    table = tables([apart, even], Overview(confidence=0.95))[results.TRAINING]
    assert table["seeds"].tolist() == [3, 1, 3, 1, 2, 2]
    assert table["architecture"].tolist() == ["apart"] * 4 + ["even"] * 2
    assert ",3\n" in table.to_csv(index=False), "whole numbers"
    assert "seeds" not in tables([even], Overview(confidence=0.95))[results.TRAINING]


@pytest.fixture
def side(tmp_path: Path) -> Revision:
    """A folder with results of three architectures, `b` the best, and with the tables of all."""
    side = write_results(tmp_path, net("a", 5), net("b", 1), net("c", 5))
    for path, table in tables(read_architectures(side)[0], Overview(confidence=0.95)).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(to_csv(table))
    return side


def test_an_architecture_that_does_not_fit_is_left_out_and_named(side: Revision) -> None:
    assert [[item.name for item in read_architectures(side)[0]], read_architectures(side)[1]] == [["b", "a", "c"], []]
    path = side.folder / results.predictions("a")
    for line, spoil in {
        "of another data set; run: dvc repro evaluate@a": lambda: net("a", 5, images=19).write(path, 6),
        "expected the seeds [10], found [10, 11]": lambda: net("a", 5, 5).write(path, 6),
        "no such file; make it with: dvc repro evaluate@a": path.unlink,
    }.items():
        spoil()
        architectures, missing = read_architectures(side)
        assert [item.name for item in architectures] == ["b", "c"]
        assert len(missing) == 1
        assert missing[0].startswith(f"a: metrics/predictions/a.json: {line}")


def test_without_a_description_nothing_is_compared(side: Revision) -> None:
    (side.folder / results.DESCRIPTION).unlink()
    with pytest.raises(PipelineError, match=r"mnist.json: no such file; make it with: dvc repro fetch$"):
        read_architectures(side)
    assert stale_tables(side) == []


@pytest.mark.parametrize(("old", "new", "late"), [("\n", "\r\n", False), ("b,", "B,", True), (",0.95,", ",0.9,", True)])
def test_a_table_is_stale_if_it_differs_from_the_results(side: Revision, old: str, new: str, late: bool) -> None:
    path = side.folder / results.COMPARISON
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    line = "plots/comparison.csv: does not match the results in metrics/; run: make overview"
    assert stale_tables(side) == [line] * late
    path.unlink()
    assert stale_tables(side) == [line]
    for name in "abc":
        (side.folder / results.predictions(name)).unlink()
    assert stale_tables(side) == [], "there are no results"


def test_the_overview_shows_the_other_architectures_and_names_the_one_without_results(project: Project) -> None:
    (project.path / "metrics/predictions/cnn.json").unlink()
    (project.path / "plots/worst_errors/mlp_256.png").unlink()
    done = project.run("python", "-m", "tools.overview")
    line = "cnn: metrics/predictions/cnn.json: no such file; make it with: dvc repro evaluate@cnn"
    assert done.stderr == f"not in the overview: {line}\n"
    assert pd.read_csv(project.path / "plots/comparison.csv")["architecture"].tolist() == ["mlp_256"]
    page = (project.path / "plots/report.html").read_text()
    assert "1 architecture compared</h1>" in page
    assert "Without results, and so not shown:" in page
    assert f"<li>{line}</li>" in page
    assert "plots/worst_errors/mlp_256.png: no such file; make it with: dvc repro report@mlp_256" in page
    assert project.run("python", "-m", "tools.overview").stdout == "up to date: plots/report.html\n"

    (project.path / "metrics/predictions/mlp_256.json").unlink()
    done = project.run("python", "-m", "tools.overview", check=False)
    assert (done.returncode, done.stderr.startswith("error: nothing to compare: mlp_256: ")) == (1, True)


VIEWS = ("comparison.csv", "training.csv", "comparison.png", "training.png", "report.html")


def views(project: Project) -> list[bytes]:
    return [(project.path / "plots" / name).read_bytes() for name in VIEWS]


def test_the_overview_is_drawn_again_only_when_something_changed(project: Project) -> None:
    stamps = [(project.path / "plots" / name).stat().st_mtime_ns for name in VIEWS]
    project.overview()
    assert [(project.path / "plots" / name).stat().st_mtime_ns for name in VIEWS] == stamps, "drew it for nothing"

    project.edit(lambda params: params["overview"].update(confidence=0.99))
    project.overview()
    assert "99% interval" in (project.path / "plots/report.html").read_text()

    project.edit_json("metrics/predictions/cnn.json", lambda file: file.update(prediction=[file["label"]]))
    project.overview()
    assert "cnn,1.0," in (project.path / "plots/comparison.csv").read_text()

    project.edit(lambda params: params["architectures"].pop("cnn"))
    done = project.run("python", "-m", "tools.overview", "--check", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: plots/comparison.csv: does not match the results in metrics/; run: ")


READ = ("params.yaml", "data/raw/mnist.json", "metrics/predictions/cnn.json", "plots/errors/cnn.png")
READ += ("plots/worst_errors/cnn.png", *(f"plots/{view}" for view in VIEWS[:4]), "stages/report.py")
READ += tuple(f"tools/common/templates/{name}" for name in ("pieces.j2", "style.css", "page.html", "page.js"))


def test_the_overview_is_current_until_what_it_reads_changes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    params = load_params()
    for path in map(Path, READ):
        content = path.read_bytes()
        path.write_bytes(content + b"#")
        assert not results.overview_is_current(params), path
        path.write_bytes(content)
        assert results.overview_is_current(params)


def test_the_overview_needs_git_alone(built_project: Project, tmp_path: Path) -> None:
    clone = built_project.git_clone(tmp_path / "clone")
    clone.run("python", "-m", "tools.overview", "--check")
    clone.overview()
    assert views(clone) == views(built_project)
