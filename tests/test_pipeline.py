"""The whole pipeline through the real DVC commands, on the tiny project."""

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import vl_convert

from tools.common.lock import read_lock

from .conftest import Project, on_terminal, shared_by_workers


def read_json(project: Project, path: str) -> dict:
    return json.loads((project.path / path).read_text())


def read_csv(project: Project, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader((project.path / path).read_text().splitlines()))


def test_a_full_run_writes_what_each_stage_owes(built_project) -> None:
    description = read_json(built_project, "data/raw/mnist.json")
    assert description["source"] == ["data/own/digits.npz"]
    assert description["arrays"]["x_train"]["shape"] == [300, 8, 8]

    metrics = read_json(built_project, "metrics/mlp_256.json")
    assert metrics["dataset"] == ["tiny digits"]
    assert metrics["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert metrics["errors"] == round((1 - metrics["accuracy"]) * 100)
    (seed,) = read_csv(built_project, "plots/tables/mlp_256/seeds.csv")
    gap = float(seed["train_accuracy"]) - float(seed["validation_accuracy"])
    assert metrics["gap"] == pytest.approx(gap, abs=2e-6)
    without_validation = ["accuracy", "errors", "loss", "parameters", "dataset"]
    assert list(read_json(built_project, "metrics/cnn.json")) == without_validation
    heading, *rows = built_project.run("dvc", "metrics", "show", "--md").stdout.splitlines()
    columns = {cell.strip() for cell in heading.strip("|").split("|")}
    assert columns == {"Path", "accuracy", "errors", "gap", "loss", "parameters"}, "no predictions or name of the data"
    assert len(rows) == 1 + 2 + 1, "a line, a row for each architecture, and an empty line"

    assert (built_project.path / "data/models/cnn/10.keras").stat().st_nlink == 1, "an edit would damage the cache"
    assert "Total params" in (built_project.path / "data/models/mlp_256/summary.txt").read_text()
    history = read_csv(built_project, "plots/history/mlp_256.csv")
    assert sorted((row["epoch"], row["split"], row["metric"]) for row in history) == [
        (epoch, split, metric) for epoch in "12" for split in ("train", "validation") for metric in ("accuracy", "loss")
    ]
    for picture in ("samples", "comparison", "training", "confusion/cnn", "worst_errors/mlp_256"):
        assert (built_project.path / f"plots/{picture}.png").read_bytes().startswith(b"\x89PNG")
    page = (built_project.path / "plots/report.html").read_text()
    assert "<h1>tiny digits: 2 architectures compared</h1>" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert page.count("data:image/png;base64,") == 2 + 2 + 1, "charts, worst errors, and all wrong images once"


def test_the_error_table_lists_every_wrong_test_image(built_project) -> None:
    predictions = read_json(built_project, "metrics/predictions/cnn.json")
    images = zip(predictions["label"], predictions["prediction"][0], predictions["probability"][0], strict=True)
    wrong = [(index, *image) for index, image in enumerate(images) if image[0] != image[1]]
    rows = [tuple(map(float, row.values())) for row in read_csv(built_project, "plots/tables/cnn/errors.csv")]
    assert sorted(rows) == [(*image[:3], 1, image[3]) for image in wrong]
    assert [row[-1] for row in rows] == sorted((row[-1] for row in rows), reverse=True)
    assert len(wrong) == read_json(built_project, "metrics/cnn.json")["errors"]
    assert len(read_csv(built_project, "plots/tables/cnn/confused_pairs.csv")) == 5
    written = [(built_project.path / f"plots/{kind}/cnn.png").read_bytes() for kind in ("worst_errors", "errors")]
    heights = [int.from_bytes(png[20:24]) for png in written]
    assert heights == [451, 8 * math.ceil(len(wrong) / 25)], "10 in rows of 5, and all in rows of 25"


@pytest.fixture(scope="module")
def edited_project(built_project, tmp_path_factory) -> Project:
    """The built project after `cnn` was trained for 3 epochs, not committed. Not to be changed."""

    def make(folder: Path) -> None:
        project = built_project.clone(folder / "project")
        project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=3))
        project.repro()
        project.overview()

    return Project(shared_by_workers(tmp_path_factory, "trained-longer", make) / "project")


def test_a_reviewer_needs_neither_cache_nor_remote(edited_project, tmp_path) -> None:
    project = edited_project.clone(tmp_path / "project")
    project.commit("train cnn longer")
    project.run("git", "clone", "-q", str(project.path), str(tmp_path / "review"))
    review = Project(tmp_path / "review")

    assert "architectures.cnn.fit.epochs | 1" in review.run("dvc", "params", "diff", "HEAD~1", "--md").stdout
    metrics = json.loads(review.run("dvc", "metrics", "diff", "HEAD~1", "--json").stdout)
    assert list(metrics) == ["metrics/cnn.json"]
    assert {"accuracy", "loss"} <= set(metrics["metrics/cnn.json"])
    plots = review.run("dvc", "plots", "diff", "HEAD~1", "HEAD")
    assert "failed to load" not in plots.stderr
    page = Path(plots.stdout.strip().removeprefix("file://")).read_text()
    assert page.count("cnn: training history") == 1
    assert "worst_errors_cnn.png" in page


def test_dvcs_charts_put_counts_under_the_right_labels_and_name_data_set_and_revisions(
    built_project, edited_project
) -> None:
    before, after = cells(built_project), cells(edited_project)
    assert before != after

    svg = vega_svg(edited_project, "plots/confusion/cnn.json")
    marks = re.findall(r'aria-label="prediction: (\d+); label: (\d+); images: (\d+)"', svg)
    drawn = [((int(label), int(prediction)), int(images)) for prediction, label, images in marks]
    assert dict(drawn[: len(before)]) == before, "the left panel is HEAD"
    assert dict(drawn[len(before) :]) == after, "the right panel is the workspace"

    history = vega_svg(edited_project, "plots/history/cnn.csv")
    for text in ("cnn: training history", "accuracy on tiny digits", "loss on tiny digits", "HEAD", "workspace"):
        assert text in history
    assert "Y-axis titled 'value'" in history, "the mean over the seeds"


def cells(project) -> dict[tuple[int, int], int]:
    """(label, prediction) → number of test images, counted from the predictions themselves."""
    predictions = read_json(project, "metrics/predictions/cnn.json")
    return Counter(zip(predictions["label"], predictions["prediction"][0], strict=True))


def vega_svg(project, target: str) -> str:
    """The chart that `dvc plots diff` draws of HEAD and the workspace, as SVG text."""
    spec = project.run("dvc", "plots", "diff", "HEAD", "--show-vega", "--targets", target).stdout
    return vl_convert.vegalite_to_svg(spec)


@pytest.mark.parametrize("stage", ["fetch", "preprocess", "report@cnn"])
def test_a_stage_without_a_model_imports_no_tensorflow(project, stage: str) -> None:
    command = read_lock(project.path / "dvc.lock")[stage]["cmd"].split()
    done = project.ordinary.run(*command[:1], "-X", "importtime", *command[1:])
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    if stage == "report@cnn":
        errors = read_json(project, "metrics/cnn.json")["errors"]
        assert done.stdout == f"cnn: {errors} of 100 test images wrong with a seed\n"
    assert "numpy" in imported
    assert not imported & {"keras", "tensorflow"}


def test_training_is_quiet_when_not_on_a_terminal(project) -> None:
    done = project.run("python", "-m", "stages.train", "mlp_256", "data/prepared/train", "out")
    assert done.stderr == ""
    assert done.stdout == "mlp_256: trained with seed 10\n"


def test_plain_dvc_repro_shows_a_bar_for_each_seed_on_a_terminal(project) -> None:
    project.edit(lambda params: params["train"].update(seeds=[10, 11]))
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=3))
    status, shown = on_terminal(project, "dvc", "repro", "train@mlp_256")
    assert status == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    for seed in (10, 11):
        assert re.search(rf"mlp_256-{seed} .*3/3", shown)
    assert "mlp_256: trained with seeds 10, 11" in shown
