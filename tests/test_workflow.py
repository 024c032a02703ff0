""".github/workflows/review.yml and reproduce.yml: safe for forks, and their scripts run as GitHub would run them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, Project
from .workflows import FORGED, GH, NUMBER, run_job, serve, stand_in


@pytest.fixture
def pull_request(built_project: Project, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The runner's checkout of the base branch, beside a bare repository with a pull request; what GitHub knows."""
    author = built_project.clone(tmp_path / "author")
    base = author.run("git", "rev-parse", "HEAD").stdout.strip()
    author.edit_json("metrics/predictions/cnn.json", lambda content: content.update(prediction=[content["label"]]))
    author.commit("results by hand")
    # what would betray it if the runner ran it
    (author.path / "tools/review/__main__.py").write_text("raise SystemExit('the code of a pull request ran')\n")
    (author.path / "requirements.txt").write_text(FORGED)
    author.commit("code that must not run")
    head = author.run("git", "rev-parse", "HEAD").stdout.strip()
    serve(author, head, base, tmp_path)
    shutil.copy(ROOT / "requirements.txt", tmp_path / "runner")
    values = {
        "github.event.number": str(NUMBER),
        "github.event.pull_request.base.sha": base,
        "github.event.pull_request.head.sha": head,
        "inputs.head || github.event.pull_request.head.sha || github.event.workflow_run.head_sha": head,
        "inputs.note": "",
        "github.server_url": "https://github.com",
        "github.repository": "team/mnist",
        "github.token": "a token",
    }
    return tmp_path / "runner", values


@pytest.fixture
def gh(built_project: Project, pull_request: tuple[Path, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    """The environment of scripts: `gh` is a stand-in, which knows two pull requests."""
    stand_in("gh", GH, tmp_path / "bin")
    head, base = (pull_request[1][f"github.event.pull_request.{side}.sha"] for side in ("head", "base"))
    pulls = [
        {"number": 6, "head": {"sha": base}, "base": {"sha": "0" * 40}},
        {"number": NUMBER, "head": {"sha": head}, "base": {"sha": base}},
    ]
    return {
        "PATH": f"{tmp_path}/bin{os.pathsep}{built_project.environment['PATH']}",
        "GH_LOG": str(tmp_path / "gh.jsonl"),
        "GH_PULLS": json.dumps(pulls),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


def test_the_scripts_review_a_pull_request(pull_request, gh, tmp_path) -> None:
    runner, values = pull_request
    head = values["github.event.pull_request.head.sha"]
    forged = {"commit": head, "results": {"cnn": ""}}
    (runner / "review").mkdir()
    (runner / "review/reproduced.json").write_text(json.dumps(forged))
    summary = tmp_path / "summary.md"
    assert run_job("review", "review", runner, values, **gh) == [0, 0, 3, 0]  # results by hand: dvc.lock does not match
    assert "| cnn | 100.00 %<br>" in summary.read_text()
    assert "evaluate@cnn: metrics/predictions/cnn.json modified" in summary.read_text()
    raw, base = "](https://github.com/team/mnist/raw", values["github.event.pull_request.base.sha"]
    both = [
        f"![Confusion matrix of cnn {side}/plots/confusion/cnn.png)"
        for side in (f"in base{raw}/{base}", f"now{raw}/{head}")
    ]
    assert f"| {both[0]} | {both[1]} |" in summary.read_text()
    assert "reproduced" not in summary.read_text(), "the pull request changes what gives the verdict"
    artefact = runner / "review"
    assert "100.00 %<br><sub>" in (artefact / "review.html").read_text()


def test_one_comment_is_written_and_updated(pull_request, gh, tmp_path) -> None:
    runner, values = pull_request
    (runner / "review.md").write_text("### Review: of a page")
    values["needs.review.outputs.number"] = str(NUMBER)
    values["needs.review.outputs.page"] = "https://github.com/the-page"
    ours, bot = "<!-- review.yml -->\n", "github-actions[bot]"
    texts = [("someone", f"{ours}not ours"), (bot, "another workflow's"), (bot, f"{ours}of the last push")]
    comments = [
        {"id": number, "user": {"login": login}, "body": body} for number, (login, body) in enumerate(texts, start=1)
    ]
    issues = "repos/team/mnist/issues"
    for there, expected in (
        (comments[:2], ["POST", f"{issues}/{NUMBER}/comments"]),
        (comments, ["PATCH", f"{issues}/comments/3"]),
    ):
        log = tmp_path / f"gh-{len(there)}.jsonl"
        environment = {"GH_LOG": str(log), "GH_COMMENTS": json.dumps(there)}
        assert run_job("review", "comment", runner, values, **gh | environment) == [0]
        asked, written = map(json.loads, log.read_text().splitlines())
        assert asked[:2] == ["GET", f"{issues}/{NUMBER}/comments"]
        page = "[All of it, with pictures of the digits](https://github.com/the-page)"
        assert written == [*expected, f"{ours}\n### Review: of a page\n\n{page}\n\n"]


def test_the_base_is_the_branch_that_the_pull_request_is_for_if_it_is_open(pull_request, gh) -> None:
    """Here one with the results by hand, so that the pull request changes code alone."""
    runner, values = pull_request
    assert run_job("review", "review", runner, values, **gh | {"GH_PULLS": "[]"})[:2] == [0, 1]
    assert not (runner / "review").exists(), "it was closed or pushed to"
    head = values["github.event.pull_request.head.sha"]
    Project(runner).run("git", "fetch", "-q", "origin", f"refs/pull/{NUMBER}/head")
    base = Project(runner).run("git", "rev-parse", f"{head}~1").stdout.strip()
    pulls = json.dumps([{"number": NUMBER, "head": {"sha": head}, "base": {"sha": base}}])
    assert run_job("review", "review", runner, values, **gh | {"GH_PULLS": pulls})[:2] == [0, 0]
    assert f"against {base[:7]}" in (runner / "review/review.md").read_text()


def test_a_pull_request_is_run_again_and_the_review_says_what_came_out(pull_request, gh, tmp_path) -> None:
    runner, values = pull_request
    here = Project(runner)
    head = values["github.event.pull_request.head.sha"]
    here.run("git", "fetch", "-q", "origin", f"refs/pull/{NUMBER}/head")
    results_only = here.run("git", "rev-parse", f"{head}~1").stdout.strip()
    here.run("git", "push", "-q", "--force", "origin", f"{results_only}:refs/pull/{NUMBER}/head")
    values |= {key: results_only for key, value in values.items() if value == head}
    gh["GH_PULLS"] = gh["GH_PULLS"].replace(head, results_only)
    assert run_job("reproduce", "reproduce", runner, values, **gh) == [0, 3, 0]
    summary = (tmp_path / "summary.md").read_text()
    assert "    cnn: NOT reproduced: differs in metrics/predictions/cnn.json; predictions: " in summary
    assert "mlp_256" not in summary

    assert run_job("review", "review", runner, values, **gh)[:3] == [0, 0, 3]
    review = (runner / "review/review.md").read_text()
    assert "| **NOT reproduced** |" in review
    assert "A rerun of the commit did not give the results that it records" in review
