"""`make review`: what it does not compare, warns of, fails on, and leaves alone."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.common.revision import Revision
from tools.review.stages import stale

from .conftest import Project
from .reviews import pages, predictions, review

SOFTMAX = "metrics/softmax.json"


def edit_lock(pattern: str, replacement: str) -> Callable[[Project], None]:
    """Edits the entry of evaluate@softmax in dvc.lock."""

    def edit(project: Project) -> None:
        lock = project.path / "dvc.lock"
        before, entry, after = re.split(r"(?m)^(  evaluate@softmax:.*?)(?=^  \w)", lock.read_text(), flags=re.DOTALL)
        edited = re.sub(pattern, replacement, entry)
        assert edited != entry
        lock.write_text(before + edited + after)

    return edit


def edit_metrics(project: Project) -> None:
    project.edit_json(SOFTMAX, lambda metrics: metrics.update(accuracy=1.0))


REASONS: dict[str, Callable[[Project], object]] = {
    "train@softmax: architectures.softmax modified": lambda project: project.edit(
        lambda params: params["architectures"]["softmax"]["fit"].update(epochs=2)
    ),
    "evaluate@other: not in dvc.lock": lambda project: project.edit(
        lambda params: params["architectures"].update(other=params["architectures"]["softmax"])
    ),
    "report@mlp_256, report@softmax: report deleted": lambda project: project.edit(lambda params: params.pop("report")),
    "train@mlp_256, train@softmax: stages/train.py modified": lambda project: (
        project.path / "stages/train.py"
    ).write_text("# edited\n"),
    "evaluate@softmax: metrics/softmax.json modified": edit_metrics,
    "report@softmax: plots/confusion/softmax.png deleted": lambda project: (
        project.path / "plots/confusion/softmax.png"
    ).unlink(),
    "evaluate@softmax: changed command": edit_lock("cmd: ", "cmd: time "),
    "evaluate@softmax: metrics/softmax.json new": edit_lock(f"path: {SOFTMAX}", "path: metrics/other.json"),
    "evaluate@softmax: ran before data/models/softmax changed": edit_lock(
        r"(path: data/models/softmax\s+hash: md5\s+md5: )\w+", r"\g<1>" + "f" * 32
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_stale_lock_has_its_reason(reviewer: Project, reason: str) -> None:
    side = Revision("here", None, reviewer.path)
    assert stale(side) == []
    REASONS[reason](reviewer)
    assert reason in stale(side)


def test_what_is_stale_is_on_the_pages_and_fails_the_gate(reviewer: Project) -> None:
    reviewer.run("git", "checkout", "-q", "HEAD~1", "--", "plots/comparison.csv")  # as after a plain dvc repro
    edit_metrics(reviewer)
    reviewer.commit("without make repro")
    printed = review(reviewer, "HEAD~1", "HEAD", "--fail-on", "stale", status=3)
    table = "plots/comparison.csv: does not match the results in metrics/; run: make overview"
    reason = "evaluate@softmax: metrics/softmax.json modified"
    assert f"dvc.lock does not match: {reason}\n" in printed
    assert f"\n{table}\n" in printed
    where = f"in HEAD ({commit(reviewer)})"
    assert f"gate failed: dvc.lock does not match params, code or results {where}\n" in printed
    assert f"gate failed: {table} ({where})\n" in printed
    for page in pages(reviewer):
        assert reason in page
        assert table in page
        assert "dvc.lock matches" not in page


def commit(project: Project, name: str = "HEAD") -> str:
    return project.run("git", "rev-parse", "--short=7", name).stdout.strip()


def test_another_data_set_is_not_compared(reviewer: Project) -> None:
    reviewer.edit_json("data/raw/mnist.json", lambda description: description.update(dataset="KMNIST", sha256="f" * 64))
    reviewer.edit_json("metrics/predictions/mlp_256.json", lambda file: file.update(prediction=[file["label"]]))
    reviewer.edit_json("metrics/mlp_256.json", lambda metrics: metrics.update(accuracy=1.0))
    printed = review(reviewer, "HEAD", "--fail-on", "regression")
    assert "mlp_256: 100.00 %, not compared: another data set" in printed
    assert printed.count("not compared: another data set") == 2
    for page in pages(reviewer):
        assert "The data set changed, so no results are compared" in page
        assert "→ KMNIST (digest ffffffffffff…)" in page
        assert "Metrics" not in page
        assert "fixed" not in page.split("Sources:")[0].split("<style>")[0]


def test_a_base_without_pictures_of_errors_leaves_their_places_empty(reviewer: Project) -> None:
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
    assert html.count('class="tile none"') == (after.right & ~before.right & elsewhere.right).sum() > 0
    assert f"plots/errors/mlp_256.png: not in HEAD~1 ({commit(reviewer, 'HEAD~1')})" in html


def test_a_shallow_clone_is_one_line(changed: Project, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=1", changed.path.as_uri(), str(tmp_path / "shallow")], check=True)
    printed = review(Project(tmp_path / "shallow"), "HEAD~1", status=1)
    assert printed == (
        "error: HEAD~1: not in this shallow clone; run: git fetch --unshallow "
        "(in CI: actions/checkout with fetch-depth: 0)\n"
    )


@pytest.mark.parametrize("option", ["--filter=tree:0", "--filter=blob:limit=300"])
def test_a_partial_clone_is_one_line_that_leads_out(changed: Project, tmp_path: Path, option: str) -> None:
    server = tmp_path / "server"
    changed.run("git", "clone", "-q", "--bare", ".", str(server))
    changed.run("git", "-C", str(server), "config", "uploadpack.allowFilter", "true")
    changed.run("git", "clone", "-q", option, server.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for command in (["tools.review", "HEAD~1"], ["tools.reproduce", "HEAD", "--base", "HEAD~1"]):
        line = clone.run("python", "-m", *command, check=False).stderr.rstrip("\n")
        assert re.fullmatch(r"error: \w{7}: not all of it is in this partial clone; run: git fetch .* \w{40}", line)
    clone.run("sh", "-c", line.partition("run: ")[2])
    assert "mlp_256: " in review(clone, "HEAD~1")


def test_the_gates_fail_on_what_they_name_and_nothing_else(reviewer: Project) -> None:
    reviewer.edit_json(
        "metrics/predictions/softmax.json",
        lambda file: file.update(prediction=[[(label + 1) % 10 for label in file["label"]]]),
    )
    assert "gate failed: significantly worse: softmax" in review(reviewer, "HEAD", "--fail-on", "regression", status=3)
    assert "gate failed" not in review(reviewer, "HEAD")
    review(reviewer, "HEAD", "HEAD~1")
    assert f"HEAD ({commit(reviewer)}) has 1 commit that HEAD~1 (" in pages(reviewer)[0]
    review(reviewer, "HEAD~1", "HEAD")
    assert " lacks; " not in pages(reviewer)[0]
    (reviewer.path / "metrics/predictions/softmax.json").write_text("{}")
    printed = review(reviewer, "HEAD", "--fail-on", "regression", status=3)
    assert "gate failed: predictions that cannot be read: softmax" in printed
    assert review(reviewer, "nonsense", status=1).startswith("error: nonsense: expected a git revision, such as main")
    review(reviewer, "HEAD", "--fail-on", "everything", status=2)


def test_text_of_a_pull_request_is_no_markup(reviewer: Project) -> None:
    reviewer.edit_json(
        "data/raw/mnist.json", lambda description: description.update(dataset="<script>x</script> @user `*|\x1b[31m")
    )
    source = {"dataset": "![x](https://example.org/x) <b>", "places": ["# x"]}
    odd = {"<img src=x onerror=y>": "<i>*x*", "list": ["```", "<script>"]}
    reviewer.edit(lambda params: params.update({"data": {"sources": [source]}, **odd}))
    review(reviewer, "HEAD")
    markdown, html = pages(reviewer)
    outside_code = re.sub(r"```diff\n.*?\n```", "", markdown, flags=re.DOTALL)
    for page in (outside_code, html):
        assert not re.search("<(script|img src=x|i>|b>x)", page)
        assert "\x1b" not in page
    assert "@user" not in markdown
    assert "](https:" not in outside_code
    assert '<img src="https' not in html
    text = re.sub(r"(?s)<style>.*?</style>", "", html)
    assert "&lt;script&gt;x&lt;/script&gt; @user `*|\\x1b[31m" in text
    assert "&lt;img src=x onerror=y&gt;" in text
    assert "&lt;i&gt;*x*" in text
