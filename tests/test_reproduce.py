"""`make reproduce`: finds results that a commit's own params and code do not give, and confirms those that they do."""

import json
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from tools.common.lock import read_lock
from tools.common.revision import Revision
from tools.reproduce import __main__ as tool
from tools.reproduce.__main__ import NOT_REPRODUCED, checked_out

from .conftest import Project
from .reviews import pages, review


def reproduce(project: Project, *arguments: str, status: int = 0) -> str:
    """Runs the command; returns what it printed."""
    done = project.run("python", "-m", "tools.reproduce", *arguments, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def record(project: Project, message: str) -> None:
    """Lets dvc.lock say that everything is as it should be, and commits."""
    project.run("dvc", "commit", "--force", "--quiet")
    project.commit(message)
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


def test_an_honest_commit_is_reproduced_by_a_stranger(seeded: Project, tmp_path) -> None:
    reviewer = seeded.git_clone(tmp_path / "clone")
    before = reviewer.run("git", "status", "--porcelain", "--ignored").stdout
    assert of_each(reproduce(reviewer)) == dict.fromkeys(["data set", "mlp_256", "cnn"], "reproduced byte for byte")
    assert reviewer.run("git", "status", "--porcelain", "--ignored").stdout == f"{before}!! review/\n"

    printed = review(reviewer, "HEAD~1", "HEAD")
    assert printed.count(", reproduced\n") == 2
    markdown, html = pages(reviewer)
    assert "| verdict | run again |" in markdown
    assert markdown.count("| reproduced |") == html.count(">reproduced</td>") == 2
    assert "reproduced" not in review(reviewer, "HEAD~1", "HEAD~1"), "it is another commit that was run again"


def of_each(printed: str) -> dict[str, str]:
    """What was said of each architecture, and of the data set."""
    return dict(line.split(": ", 1) for line in printed.splitlines() if "reproduced" in line)


def test_a_number_edited_by_hand_and_a_model_trained_with_other_code_show(project: Project) -> None:
    module = project.path / "stages/models/training.py"
    honest = module.read_text()
    module.write_text(honest.replace("images[:train], labels[:train]", "images, labels", 1))  # and the held-out ones
    assert module.read_text() != honest
    project.run("dvc", "repro", "--quiet", "report@mlp_256")
    module.write_text(honest)
    record(project, "a better model")
    project.edit_json("metrics/cnn.json", lambda metrics: metrics.update(accuracy=0.999))
    project.commit("a better number, beside an honest dvc.lock")
    told = of_each(reproduce(project, "--base", "HEAD~2", status=NOT_REPRODUCED))
    edited = "NOT reproduced: differs in metrics/cnn.json; predictions: same bytes; accuracy: recorded 0.999, "
    assert told["cnn"].startswith(edited)
    assert told["mlp_256"].startswith("NOT reproduced: differs in ")
    assert "data/models/mlp_256, " in told["mlp_256"]
    assert "; other models with seeds 10; predictions: " in told["mlp_256"]

    printed = review(project, "HEAD~2", "HEAD")
    assert "cnn: NOT reproduced: differs in metrics/cnn.json; " in printed
    for page in pages(project):
        assert "NOT reproduced: differs in metrics/cnn.json" in page


def units(project: Project) -> None:
    project.edit(lambda params: params["architectures"]["mlp_256"]["layers"][1]["Dense"].update(units=9))


def code(project: Project) -> None:
    with (project.path / "stages/data/archive.py").open("a") as stream:
        stream.write("# an edit\n")


def result(project: Project) -> None:
    project.edit_json("metrics/predictions/cnn.json", lambda found: found.update(prediction=[found["label"]]))


def model(project: Project) -> None:
    lock = project.path / "dvc.lock"
    start, entry = lock.read_text().split("  train@cnn:", 1)
    lock.write_text(f"{start}  train@cnn:{entry.replace('md5: ', 'md5: 0', 1)}")


def seed(project: Project) -> None:
    project.edit(lambda params: params["train"].update(seeds=[11]))


def overview(project: Project) -> None:
    project.edit(lambda params: params["overview"].update(confidence=0.9))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (units, ["mlp_256"]),
        (result, ["cnn"]),
        (model, ["cnn"]),
        (code, ["mlp_256", "cnn"]),
        (seed, ["mlp_256", "cnn"]),
        (overview, []),
    ],
)
def test_only_what_a_commit_changes_is_run_again(project: Project, monkeypatch, edit, expected: list[str]) -> None:
    edit(project)
    project.commit("an edit, without make repro")
    monkeypatch.chdir(project.path)
    assert tool.changed(Revision.find("HEAD~1"), Revision.find("HEAD")) == expected


def test_a_commit_that_changes_no_result_needs_no_rerun(project: Project) -> None:
    (project.path / "NOTES").write_text("a note")
    project.commit("a note")
    assert reproduce(project, "--base", "HEAD~1").startswith("nothing to run: HEAD (")


def test_other_data_are_reported_before_anything_is_trained(reviewer: Project) -> None:
    reviewer.edit_json("data/raw/mnist.json", lambda description: description.update(dataset="MNIST", sha256="f" * 64))
    reviewer.commit("recorded with MNIST")
    output = reproduce(reviewer, status=1)
    expected = "recorded with MNIST, but found tiny digits; put the data set at a place listed in data.sources"
    assert output.startswith(f"error: data/raw/mnist.json: {expected}")


def test_a_data_set_that_is_gone_is_named_where_it_should_be(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.edit(lambda params: params["data"]["sources"][0].update(places=["keras:gone.npz", "gone/digits.npz"]))
    project.commit("another place")
    (tmp_path / "TMPDIR").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "TMPDIR"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    output = reproduce(project, status=1)
    assert f"{tmp_path}/keras/datasets/gone.npz: no such file; gone/digits.npz: no such file" in output
    assert str(tmp_path / "TMPDIR") not in output


def test_a_damaged_file_of_the_rerun_is_named_without_its_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_damaged() -> None:
        with checked_out(Revision.find("HEAD")) as tree:
            (tree / "dvc.lock").write_text("[")
            read_lock(tree / "dvc.lock")

    monkeypatch.chdir(project.path)
    with pytest.raises(PipelineError, match=r"^the rerun/dvc\.lock: not valid YAML"):
        read_damaged()


def test_another_environment_is_reported(reviewer: Project) -> None:
    (reviewer.path / "stages/models/requirements.txt").write_text("tensorflow==1.0\n")
    reviewer.commit("an old TensorFlow")
    assert "stages/models/requirements.txt in HEAD (" in (output := reproduce(reviewer, status=1))
    assert "expected tensorflow 1.0, found " in output


def test_a_file_that_it_did_not_write_is_reported(project: Project) -> None:
    (project.path / "review").mkdir()
    (project.path / "review/reproduced.json").write_text(json.dumps({"commit": "x"}))
    line = "error: review/reproduced.json: results: required key is missing; delete it\n"
    assert review(project, "HEAD", status=1) == line
