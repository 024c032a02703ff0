"""`make review`: what it refuses to compare, warns of, fails on, and leaves alone."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.common.changes import percent

from .conftest import Project
from .reviews import pages, predictions, review


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
    entry = re.sub(r"(path: data/models/softmax\s+hash: md5\s+md5: )\w+", r"\g<1>" + "f" * 32, entry)
    lock.write_text(before + entry + after)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (edit_params, "train@softmax: architectures.softmax modified"),
        (add_architecture, "evaluate@other: not in dvc.lock"),
        (edit_code, "train@mlp_256, train@softmax: stages/train.py modified"),
        (edit_metrics, "evaluate@softmax: metrics/softmax.json modified"),
        (delete_picture, "report@softmax: plots/confusion/softmax.png deleted"),
        (rerun_train_alone, "evaluate@softmax: ran before data/models/softmax changed"),
    ],
)
def test_a_stale_lock_is_told_with_its_reason(reviewer, fault: Callable[[Project], None], reason: str) -> None:
    fault(reviewer)
    reviewer.commit("without make repro")
    printed = review(reviewer, "HEAD~1", "HEAD", "--fail-on", "stale", status=3)
    assert reason in printed
    assert "gate failed: dvc.lock does not match params, code or results in HEAD (" in printed
    markdown, html = pages(reviewer)
    assert reason in markdown
    assert reason in html
    assert "dvc.lock matches" not in html


def test_stale_tables_of_all_architectures_are_told(reviewer) -> None:
    reviewer.run("git", "checkout", "-q", "HEAD~1", "--", "plots/comparison.csv")  # as after a plain dvc repro
    reviewer.commit("without make overview")
    line = "plots/comparison.csv: does not match the results in metrics/ and plots/; run: make overview"
    printed = review(reviewer, "HEAD~1", "HEAD", "--fail-on", "stale", status=3)
    assert f"\n{line}\n" in f"\n{printed}"
    assert f"gate failed: {line} (in HEAD (" in printed
    assert all(line in page for page in pages(reviewer))


def test_another_data_set_is_not_compared(reviewer) -> None:
    reviewer.edit_json("data/raw/mnist.json", lambda description: description.update(dataset="KMNIST", sha256="f" * 64))
    reviewer.edit_json("metrics/predictions/mlp_256.json", lambda file: file.update(prediction=[file["label"]]))
    printed = review(reviewer, "HEAD", "--fail-on", "regression")
    assert "mlp_256: 100.00 %, not compared: another data set" in printed
    assert printed.count("not compared: another data set") == 2
    markdown, html = pages(reviewer)
    for page in (markdown, html):
        assert "The data set changed, so no results are compared" in page
        assert "→ KMNIST (digest ffffffffffff…)" in page
        assert "fixed" not in page.split("Sources:")[0].split("<style>")[0]


def test_what_cannot_be_compared_is_one_line_and_the_rest_is_compared(reviewer) -> None:
    def shorten(file: dict) -> None:
        file.update(label=file["label"][:-1])
        file.update({key: [file[key][0][:-1]] for key in ("prediction", "probability")})

    reviewer.edit_json("metrics/predictions/softmax.json", shorten)
    (reviewer.path / "metrics/predictions/mlp_256.json").unlink()
    reviewer.commit("a base with other test images, and without predictions")
    reviewer.run("git", "checkout", "HEAD~1", "--", "metrics", "plots")
    lines = review(reviewer, "HEAD").splitlines()
    assert lines[0].startswith("mlp_256: ")
    assert lines[0].endswith(
        f"not compared: no predictions (metrics/predictions/mlp_256.json) in HEAD ({head(reviewer)})"
    )
    assert lines[1].endswith("not compared: other test images (base 99, now 100)")

    reviewer.edit_json("metrics/predictions/mlp_256.json", lambda file: file.update(prediction=[["x"]]))
    line = "mlp_256: not compared: metrics/predictions/mlp_256.json in workspace: prediction[0][0]: expected a"
    assert line in review(reviewer, "HEAD")


OLDER = """
stages:
  train:
    matrix: {architecture: "${architectures}", seed: "${train.seeds}"}
    cmd: train ${item.architecture} ${item.seed}
"""


def test_a_base_in_an_older_layout_is_one_line_for_each_architecture(reviewer) -> None:
    names = ("mlp_256", "softmax")
    reviewer.run("git", "rm", "-qr", "metrics/predictions")
    for name in names:
        reviewer.edit_json(f"metrics/{name}.json", lambda file: file.update(dataset="tiny digits", recall={"0": 0.5}))
    (reviewer.path / "dvc.yaml").write_text(OLDER)
    entries = {f"train@{name}-10": {"cmd": f"train {name} 10"} for name in names}
    (reviewer.path / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": entries}))
    reviewer.commit("as it was when each seed was a stage")
    base = head(reviewer)
    reviewer.run("git", "checkout", "HEAD~1", "--", ".")
    reviewer.commit("the present layout")
    without = f"not compared: HEAD~1 ({base}) has results in an older layout, without metrics/predictions"
    accuracies = [percent(predictions(reviewer, "HEAD", name).accuracy) for name in names]
    expected = [f"{name}: {now}, {without}/{name}.json" for name, now in zip(names, accuracies, strict=True)]
    assert review(reviewer, "HEAD~1", "HEAD").splitlines()[:-1] == expected
    for page in pages(reviewer):
        plain = page.replace("\\", "")
        assert plain.count(without) == 2
        assert "Only in base: recall (metrics/mlp_256.json, metrics/softmax.json)" in plain
        assert "The base's own dvc.lock does not match" not in plain


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


PARTIAL = {  # how it is cloned, and what is compared
    "no files": (["--filter=blob:none"], ["HEAD~1"]),
    "no folders": (["--filter=tree:0"], ["HEAD~1", "HEAD"]),
    "small files": (["--filter=blob:limit=300"], ["HEAD~1"]),
    "a pull request": (["--filter=blob:none", "--single-branch", "--branch=base"], ["HEAD", "FETCH_HEAD"]),
    "shallow": (["--filter=blob:none", "--depth=1"], ["HEAD~1"]),
}


@pytest.mark.parametrize(("options", "compared"), PARTIAL.values(), ids=PARTIAL)
def test_a_partial_clone_is_one_line_that_leads_out(
    changed: Project, tmp_path: Path, options: list[str], compared: list[str]
) -> None:
    server = tmp_path / "server"
    changed.run("git", "clone", "-q", "--bare", ".", str(server))
    changed.run("git", "-C", str(server), "config", "uploadpack.allowFilter", "true")
    changed.run("git", "-C", str(server), "branch", "base", "HEAD~1")
    changed.run("git", "-C", str(server), "update-ref", "refs/pull/1/head", "HEAD")
    changed.run("git", "clone", "-q", *options, server.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    if "FETCH_HEAD" in compared:
        clone.run("git", "fetch", "-q", "origin", "refs/pull/1/head")
        compared = ["HEAD", clone.run("git", "rev-parse", "FETCH_HEAD").stdout.strip()]
    if "--depth=1" in options:
        clone.run("sh", "-c", review(clone, *compared, status=1).partition("run: ")[2].partition(" (in CI")[0])
    base, head = compared[0], compared[-1] if compared[1:] else "HEAD"
    commands = [
        ["review", *compared],
        ["reproduce", head, "--base", base],
        *([["compare", base]] if base != "HEAD" else []),
    ]
    for name, *arguments in commands:
        done = clone.run("python", "-m", f"tools.{name}", *arguments, check=False)
        line = done.stderr.rstrip("\n")
        assert re.fullmatch(r"error: \w{7}: not all of it is in this partial clone; run: git fetch .* \w{40}", line)
    clone.run("sh", "-c", line.partition("run: ")[2])
    assert "mlp_256: " in review(clone, *compared)


def test_the_gates_fail_on_what_they_name_and_nothing_else(reviewer) -> None:
    reviewer.edit_json(
        "metrics/predictions/softmax.json",
        lambda file: file.update(prediction=[[(label + 1) % 10 for label in file["label"]]]),
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


@pytest.fixture
def worktree(reviewer: Project, tmp_path: Path) -> Project:
    """A linked worktree of the reviewer's clone."""
    reviewer.run("git", "worktree", "add", "-q", str(tmp_path / "linked"))
    return Project(tmp_path / "linked")


def test_a_review_from_a_hook_in_a_linked_worktree_leaves_the_repository_as_it_was(
    worktree: Project, reviewer: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (reviewer.path / ".git/config").read_bytes()
    folder = worktree.run("git", "rev-parse", "--absolute-git-dir").stdout.strip()
    index = Path(folder, "index").read_bytes()
    for name, value in {"GIT_DIR": folder, "GIT_INDEX_FILE": f"{folder}/index", "GIT_PREFIX": ""}.items():
        monkeypatch.setenv(name, value)
    assert review(worktree, "HEAD", "HEAD", "--fail-on", "stale").startswith("same predictions as in base")
    assert (reviewer.path / ".git/config").read_bytes() == config
    assert Path(folder, "index").read_bytes() == index
