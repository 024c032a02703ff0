"""`make review`: what a reviewer reads, from git alone; what it does not compare, warns of, and fails on."""

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

from tools.common.revision import Revision
from tools.review.stages import stale

from .conftest import Project
from .reviews import pages, predictions, review


@pytest.fixture(scope="module")
def reviewed(changed: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A fresh clone of the changed project, without cache, remote or data; and what a review of it printed."""
    clone = changed.git_clone(tmp_path_factory.mktemp("reviewed") / "clone")
    return clone, review(clone, "HEAD~1", "HEAD")


def test_a_fresh_clone_shows_the_change_from_git_alone(reviewed: tuple[Project, str]) -> None:
    project, printed = reviewed
    before, after = (predictions(project, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    counts = [str((new.right & ~old.right).sum()) for old, new in ((before, after), (after, before))]
    accuracies = [f"{100 * side.accuracy:.2f} %" for side in (before, after)]
    assert f"mlp_256: {accuracies[0]} → {accuracies[1]}, fixed {counts[0]}, broke {counts[1]}, " in printed
    new = f"{100 * predictions(project, 'HEAD', 'softmax').accuracy:.2f} %"
    removed = f"{100 * predictions(project, 'HEAD~1', 'cnn').accuracy:.2f} %"
    assert f"softmax: {new}, new\n" in printed
    assert f"cnn: removed, it had {removed}\n" in printed

    markdown, html = pages(project)
    for row in (
        rf"mlp_256 \| {accuracies[1]}<br>.* \| {accuracies[0]}<br>.* \| \S+ \| {counts[0]} \| {counts[1]} \| .*",
        rf"softmax \| {new}<br>.* \| new \|",
        rf"cnn \| – \| {removed}<br>.* \| removed \|",
        r"mlp_256 \| gap \| \S+ \| \S+ \| [+-]\S+ \|",
    ):
        assert re.search(rf"^\| {row}$", markdown, re.MULTILINE)
    for page in (markdown, html):
        assert "+ Dropout: {rate: 0.5}" in page
        assert page.count("mlp_256: compares two trained models, not two recipes") == 1
        assert "dvc.lock matches params, code and results" in page
    for line in (
        "architectures.mlp_256.fit.epochs | 2 | 1",
        "train@mlp_256 | architectures.mlp_256",
        "train@softmax | added",
        "train@cnn | removed",
    ):
        assert f"| {line} |" in markdown
    assert not (project.path / "data/prepared").exists()


def test_the_page_stands_alone_and_shows_the_digits_that_changed(reviewed: tuple[Project, str], changed) -> None:
    _, html = pages(reviewed[0])
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\((?!data:)', html)
    before, after = (predictions(changed, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    images = np.load(changed.path / "data/prepared/test/images.npy")
    (png,) = re.findall(r"background-image: url\(data:image/png;base64,([^)]+)\)", html)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    places = re.findall(r'aria-label="test image (\d+), label \d" style="background-position: (\S+)px (\S+)px"', html)
    assert {int(index) for index, *_ in places} == set(np.flatnonzero(before.right[0] != after.right[0]))
    for index, x, y in places:
        left, top = -int(x) // 8, -int(y) // 8  # each pixel is shown as 8 x 8
        shown = sheet[top : top + 8, left : left + 8]
        assert np.array_equal(255 - shown, np.round(255 * images[int(index), ..., 0]))
    some = next(iter(np.flatnonzero(before.right[0] & ~after.right[0])))
    old, new = before.prediction[0, some], after.prediction[0, some]
    assert f'label {after.label[some]}</div><div class="cut">{old} → {new}</div>' in html
    assert 'alt="Accuracy and loss of mlp_256 over the epochs, in base and now"' in html
    assert 'alt="Accuracy and loss of softmax over the epochs"' in html, "the new one has a section, too"


def test_the_workspace_is_compared_as_it_stands(reviewer: Project) -> None:
    assert review(reviewer, "HEAD").splitlines()[0] == "same predictions as in base: mlp_256, softmax"
    reviewer.edit_json("metrics/predictions/softmax.json", lambda file: file.update(prediction=[file["label"]]))
    reviewer.edit(lambda params: params["overview"].update(confidence=0.5))
    assert re.search(
        r"softmax: \S+ % → 100.00 %, fixed \d+, broke 0, evidence of a change for the better\n"
        r"same predictions as in base: mlp_256\n",
        review(reviewer, "HEAD"),
    )
    markdown, html = pages(reviewer)
    assert "\n| softmax |" in markdown
    assert "\n| mlp_256 |" not in markdown
    for page in (markdown, html):
        assert "Same predictions as in base: mlp_256." in page
        assert "its 95% interval" in page, "the base's, not what the change sets"


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


REASONS: dict[str, Callable[[Project], object]] = {
    "evaluate@other: not in dvc.lock": lambda project: project.edit(
        lambda params: params["architectures"].update(other=params["architectures"]["softmax"])
    ),
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
    reviewer.edit_json(SOFTMAX, lambda metrics: metrics.update(accuracy=1.0))
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
    reviewer.edit_json("data/raw/mnist.json", lambda description: description.update(sha256="f" * 64))
    reviewer.edit_json("metrics/predictions/mlp_256.json", lambda file: file.update(prediction=[file["label"]]))
    reviewer.edit_json("metrics/mlp_256.json", lambda metrics: metrics.update(accuracy=1.0))
    printed = review(reviewer, "HEAD", "--fail-on", "regression")
    assert "mlp_256: 100.00 %, not compared: another data set" in printed
    assert printed.count("not compared: another data set") == 2
    for page in pages(reviewer):
        assert "The data set changed, so no results are compared" in page
        assert "→ tiny digits (digest ffffffffffff…)" in page
        assert "Metrics" not in page
        assert "fixed" not in page.split("Sources:")[0].split("<style>")[0]


def test_a_shallow_clone_is_one_line(changed: Project, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=1", changed.path.as_uri(), str(tmp_path / "shallow")], check=True)
    printed = review(Project(tmp_path / "shallow"), "HEAD~1", status=1)
    assert printed == (
        "error: HEAD~1: not in this shallow clone; run: git fetch --unshallow "
        "(in CI: actions/checkout with fetch-depth: 0)\n"
    )


def test_a_partial_clone_is_one_line_that_leads_out(changed: Project, tmp_path: Path) -> None:
    server = tmp_path / "server"
    changed.run("git", "clone", "-q", "--bare", ".", str(server))
    changed.run("git", "-C", str(server), "config", "uploadpack.allowFilter", "true")
    changed.run("git", "clone", "-q", "--filter=blob:limit=300", server.as_uri(), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    line = clone.run("python", "-m", "tools.review", "HEAD~1", check=False).stderr.rstrip("\n")
    assert re.fullmatch(r"error: \w{7}: not all of it is in this partial clone; run: git fetch .* \w{40}", line)
    clone.run("sh", "-c", line.partition("run: ")[2])
    assert "mlp_256: " in review(clone, "HEAD~1")


def test_the_gates_fail_on_what_they_name_and_nothing_else(reviewer: Project) -> None:
    reviewer.edit_json(
        "metrics/predictions/softmax.json",
        lambda file: file.update(prediction=[[(label + 1) % 10 for label in file["label"]]]),
    )
    (reviewer.path / "metrics/predictions/mlp_256.json").write_text("{}")
    printed = review(reviewer, "HEAD", "--fail-on", "regression", status=3)
    assert "gate failed: significantly worse: softmax" in printed
    assert "gate failed: predictions that cannot be read: mlp_256" in printed
    assert "gate failed" not in review(reviewer, "HEAD")
    review(reviewer, "HEAD", "HEAD~1")
    assert f"HEAD ({commit(reviewer)}) has 1 commit that HEAD~1 (" in pages(reviewer)[0]
    review(reviewer, "HEAD~1", "HEAD")
    assert " lacks; " not in pages(reviewer)[0]
    line = "error: nonsense: expected a git revision, such as main or HEAD~1; git branch --all lists branches\n"
    assert review(reviewer, "nonsense", status=1) == line
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


def test_what_make_reproduce_did_not_write_is_reported(project: Project) -> None:
    (project.path / "review").mkdir()
    (project.path / "review/reproduced.json").write_text(json.dumps({"commit": "x"}))
    line = "error: review/reproduced.json: results: required key is missing; delete it\n"
    assert review(project, "HEAD", status=1) == line
