"""`make review`: what a reviewer is told of a change, from git alone."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.predictions import Predictions
from tools.review.changes import Architecture

from .conftest import Project

LABELS = [0] * 100


@pytest.fixture(scope="session")
def changed(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project and, on top, a commit that edits one architecture, adds one and removes one."""
    project = built_project.clone(tmp_path_factory.mktemp("changed") / "project")

    def change(params: dict) -> None:
        architectures = params["architectures"]
        architectures["mlp_256"]["layers"].insert(2, {"Dropout": {"rate": 0.5}})
        architectures["mlp_256"]["fit"]["epochs"] = 1
        architectures["softmax"] = {
            "layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}],
            "fit": {"epochs": 1, "batch_size": 50},
        }
        del architectures["cnn"]

    project.edit(change)
    project.repro()
    project.overview()
    project.commit("mlp_256 with dropout, softmax in place of cnn")
    return project


@pytest.fixture
def reviewer(changed: Project, tmp_path: Path) -> Project:
    """A fresh clone of the changed project: no cache, no remote, no data."""
    subprocess.run(["git", "clone", "-q", str(changed.path), str(tmp_path / "clone")], check=True)
    return Project(tmp_path / "clone")


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
    content = json.loads(project.run("git", "show", f"{revision}:plots/predictions/{name}.json").stdout)
    return Predictions(*(np.array(content[key]) for key in ("label", "prediction", "probability")))


def told(before: list[int], after: list[int], name: str = "cnn", p: float = 1.0, several: int = 1) -> str:
    """The headline for predictions of images whose label is 0."""
    label, probability = np.array(LABELS), np.ones(100)
    sides = [Predictions(label, np.array(prediction), probability) for prediction in (before, after)]
    return Architecture(name, *sides, p=p, several=several).headline(0.95)


def wrong(count: int) -> list[int]:
    return [1] * count + [0] * (100 - count)


@pytest.mark.parametrize(
    ("before", "p", "several", "expected"),
    [
        (wrong(3), 0.25, 1, "base 97.00 % · fixed 1, broke 0 · p = 0.25: no evidence of a change (one seed)"),
        (wrong(9), 0.015625, 1, "base 91.00 % · fixed 7, broke 0 · p = 0.016: evidence of a change for the better"),
        (wrong(0), 0.2, 2, "fixed 0, broke 2 · p = 0.2 (Holm over 2): no evidence"),
        (wrong(0), 0.0004, 2, "fixed 0, broke 2 · p < 0.001 (Holm over 2): evidence of a change for the worse"),
    ],
)
def test_a_headline_says_what_a_person_would_say(before: list[int], p: float, several: int, expected: str) -> None:
    headline = told(before, wrong(2), p=p, several=several)
    assert headline.startswith("cnn: 98.00 % [93.00, 99.45] · base ")
    assert expected in headline


def test_a_fresh_clone_tells_the_change_from_git_alone(reviewer) -> None:
    printed = review(reviewer, "HEAD~1", "HEAD")
    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    fixed, broke = (after.right & ~before.right).sum(), (before.right & ~after.right).sum()
    assert f"base {100 * before.accuracy:.2f} % · fixed {fixed}, broke {broke} · p " in printed
    assert f"softmax: {100 * predictions(reviewer, 'HEAD', 'softmax').accuracy:.2f} % [" in printed
    assert f"cnn: removed; it had {100 * predictions(reviewer, 'HEAD~1', 'cnn').accuracy:.2f} %" in printed

    markdown, html = pages(reviewer)
    for page in (markdown, html):
        assert "+ Dropout: {rate: 0.5}" in page
        assert "two trained models, not two recipes" in page
        assert "dvc.lock matches params, code and results" in page
    assert "| architectures.mlp_256.fit.epochs | 2 | 1 |" in markdown
    assert "| train@mlp_256 | architectures.mlp_256 |" in markdown
    assert "| train@softmax | added |" in markdown
    assert "| train@cnn | removed |" in markdown
    assert re.search(r"\| mlp_256 \| train_validation_gap \| \S+ \| \S+ \| [+-]\S+ \|", markdown)
    assert not (reviewer.path / "data/prepared").exists()


def test_the_page_stands_alone_and_shows_the_digits_that_changed(reviewer, changed) -> None:
    review(reviewer, "HEAD~1", "HEAD")
    _, html = pages(reviewer)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)

    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    images = np.load(changed.path / "data/prepared/x_test.npy")
    shown = dict(re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="test image (\d+),', html))
    shown = {int(index): np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png, index in shown.items()}
    assert set(shown) == set(np.flatnonzero(before.right != after.right))
    for index, picture in shown.items():
        assert np.array_equal(255 - picture, np.round(255 * images[index, ..., 0]))
    some = next(iter(np.flatnonzero(before.right & ~after.right)))
    assert f"label {after.label[some]}<br>{before.prediction[some]} → {after.prediction[some]}<br>" in html
    assert 'alt="Accuracy and loss of mlp_256 over the epochs, in base and now"' in html


def test_no_change_is_told_as_none(reviewer) -> None:
    assert review(reviewer, "HEAD").splitlines()[0] == "same predictions as in base: mlp_256, softmax"


def test_the_workspace_is_compared_as_it_stands(reviewer) -> None:
    reviewer.edit_json("plots/predictions/softmax.json", lambda columns: columns.update(prediction=columns["label"]))
    printed = review(reviewer, "HEAD")
    assert "softmax: 100.00 % [" in printed
    assert "broke 0 · p < 0.001: evidence of a change for the better (one seed)" in printed


def edit_params(project: Project) -> None:
    project.edit(lambda params: params["architectures"]["softmax"]["fit"].update(epochs=2))


def add_architecture(project: Project) -> None:
    project.edit(lambda params: params["architectures"].update(other=params["architectures"]["softmax"]))


def edit_code(project: Project) -> None:
    with (project.path / "stages/train.py").open("a") as stream:
        stream.write("# edited\n")


def edit_metrics(project: Project) -> None:
    project.edit_json("metrics/softmax.json", lambda metrics: metrics.update(accuracy=1.0))


def delete_picture(project: Project) -> None:
    (project.path / "plots/confusion/softmax.png").unlink()


def rerun_train_alone(project: Project) -> None:
    lock = project.path / "dvc.lock"
    before, entry, after = re.split(r"(?m)^(  evaluate@softmax:.*?)(?=^  \w)", lock.read_text(), flags=re.DOTALL)
    entry = re.sub(r"(path: data/models/softmax.keras\s+hash: md5\s+md5: )\w+", r"\g<1>" + "f" * 32, entry)
    lock.write_text(before + entry + after)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (edit_params, "train@softmax: architectures.softmax modified"),
        (add_architecture, "evaluate@other: not in dvc.lock"),
        (edit_code, "train@mlp_256, train@softmax: stages/train.py modified"),
        (edit_metrics, "evaluate@softmax: metrics/softmax.json modified"),
        (delete_picture, "report@softmax: plots/confusion/softmax.png deleted"),
        (rerun_train_alone, "evaluate@softmax: ran before data/models/softmax.keras changed"),
    ],
)
def test_a_stale_lock_is_told_with_its_reason(reviewer, fault: Callable[[Project], None], reason: str) -> None:
    fault(reviewer)
    reviewer.commit("without make repro")
    assert reason in review(reviewer, "HEAD~1", "HEAD", "--fail-on", "stale", status=3)
    markdown, html = pages(reviewer)
    assert reason in markdown
    assert reason in html
    assert "dvc.lock matches" not in html


def test_another_data_set_is_not_compared(reviewer) -> None:
    reviewer.edit_json("data/raw/mnist.json", lambda description: description.update(dataset="KMNIST", sha256="f" * 64))
    reviewer.edit_json("plots/predictions/mlp_256.json", lambda columns: columns.update(prediction=columns["label"]))
    printed = review(reviewer, "HEAD", "--fail-on", "regression")
    assert "mlp_256: 100.00 % [" in printed
    assert printed.count("not compared: another data set") == 2
    markdown, html = pages(reviewer)
    for page in (markdown, html):
        assert "The data set changed, so no results are compared" in page
        assert "→ KMNIST (digest ffffffffffff…)" in page
        assert "fixed" not in page.split("Sources:")[0].split("<style>")[0]


def test_what_cannot_be_compared_is_one_line_and_the_rest_is_compared(reviewer) -> None:
    def shorten(columns: dict) -> None:
        columns.update({key: columns[key][:-1] for key in ("label", "prediction", "probability")})

    reviewer.edit_json("plots/predictions/softmax.json", shorten)
    (reviewer.path / "plots/predictions/mlp_256.json").unlink()
    reviewer.commit("a base with other test images, and without predictions")
    reviewer.run("git", "checkout", "HEAD~1", "--", "plots")
    lines = review(reviewer, "HEAD").splitlines()
    assert lines[0].startswith("mlp_256: ")
    assert lines[0].endswith(
        f"not compared: no predictions (plots/predictions/mlp_256.json) in HEAD ({head(reviewer)})"
    )
    assert lines[1].endswith("not compared: other test images (base 99, now 100)")

    (reviewer.path / "plots/predictions/mlp_256.json").write_text('{"label": [0], "prediction": ["x"]}')
    assert "mlp_256: not compared: plots/predictions/mlp_256.json in workspace: expected the lists" in review(
        reviewer, "HEAD"
    )


def head(project: Project) -> str:
    return project.run("git", "rev-parse", "HEAD").stdout[:7]


def test_a_base_without_pictures_of_errors_leaves_their_places_empty(reviewer) -> None:
    reviewer.run("git", "checkout", "-q", "HEAD~1")
    (reviewer.path / "plots/errors/mlp_256.png").unlink()
    (reviewer.path / "plots/errors/cnn.png").unlink()
    reviewer.commit("a base without pictures")
    reviewer.run("git", "checkout", "-q", "-b", "change")
    reviewer.run("git", "checkout", "origin/HEAD", "--", ".")
    reviewer.commit("the change on top")
    review(reviewer, "HEAD~1", "HEAD")
    _, html = pages(reviewer)
    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    elsewhere = predictions(reviewer, "HEAD", "softmax")  # whose errors have pictures
    assert html.count('<div class="none">') == (after.right & ~before.right & elsewhere.right).sum() > 0
    assert f"plots/errors/mlp_256.png: not in HEAD~1 ({reviewer.run('git', 'rev-parse', 'HEAD~1').stdout[:7]})" in html


def test_a_shallow_clone_is_one_line(changed, tmp_path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=1", changed.path.as_uri(), str(tmp_path / "shallow")], check=True)
    printed = review(Project(tmp_path / "shallow"), "HEAD~1", status=1)
    assert printed == (
        "error: HEAD~1: not in this shallow clone; run: git fetch --unshallow "
        "(in CI: actions/checkout with fetch-depth: 0)\n"
    )


def test_the_gates_fail_on_what_they_name_and_nothing_else(reviewer) -> None:
    reviewer.edit_json(
        "plots/predictions/softmax.json",
        lambda columns: columns.update(prediction=[(label + 1) % 10 for label in columns["label"]]),
    )
    assert "gate failed: significantly worse: softmax" in review(reviewer, "HEAD", "--fail-on", "regression", status=3)
    assert "gate failed" not in review(reviewer, "HEAD")
    review(reviewer, "nonsense", "--fail-on", "regression", status=1)
    review(reviewer, "HEAD", "--fail-on", "everything", status=2)


def test_text_of_a_pull_request_is_no_markup(reviewer) -> None:
    reviewer.edit_json(
        "data/raw/mnist.json", lambda description: description.update(dataset="<script>x</script> @user `*|")
    )
    reviewer.edit(lambda params: params["data"]["sources"][0].update(dataset="![x](https://example.org/x) <b>"))
    review(reviewer, "HEAD")
    markdown, html = pages(reviewer)
    assert "<script>" not in markdown + html
    assert "@user" not in markdown
    assert "](https:" not in re.sub(r"```diff\n.*?\n```", "", markdown, flags=re.DOTALL)
