""".github/workflows/review.yml and reproduce.yml: safe for forks, and their scripts run as GitHub would run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.support.yaml import read_yaml
from tools.environment import LOCKS

from .conftest import ROOT, Project

WORKFLOW = read_yaml(ROOT / ".github/workflows/review.yml")
REPRODUCE = read_yaml(ROOT / ".github/workflows/reproduce.yml")
JOBS = WORKFLOW["jobs"] | REPRODUCE["jobs"]
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
NUMBER = 7
FORGED = "no-such-package\n"

GH = f"""\
#!{sys.executable}
import json, os, sys
import jq
arguments = sys.argv[1:]
command = arguments.pop(0)
if command == "auth":
    sys.exit(arguments != ["setup-git"])
assert command == "api"
options = dict(zip(arguments, arguments[1:]))
path, = (argument for argument in arguments if argument.startswith("repos/"))
body = open(options["--field"].removeprefix("body=@")).read() if "--field" in options else None
with open(os.environ["GH_LOG"], "a") as log:
    log.write(json.dumps([options.get("--method", "GET"), path, body]) + "\\n")
if "--jq" in options:
    answer = os.environ["GH_PULLS" if "/pulls" in path else "GH_COMMENTS"]
    print(*jq.compile(options["--jq"]).input_text(answer).all(), sep="\\n")
"""


def expressions(text: str, values: dict[str, str]) -> str:
    """What GitHub makes of `${{ … }}`; an expression that is not in `values` is an error."""
    return re.sub(r"\$\{\{ ([^}]+) \}\}", lambda found: values[found[1]], text)


def run_job(name: str, folder: Path, values: dict[str, str], **environment: str) -> list[int]:
    """Runs a job's scripts in turn as GitHub does; returns their exit statuses.

    Nothing is installed, as all is there; where requirements.txt is not the base branch's, that fails. What a step
    gives as its outputs is added to the values.
    """
    output = folder.parent / "output"
    statuses = []
    for step in JOBS[name]["steps"]:
        if re.search(r"\binstall\b.* requirements\.txt$", step.get("run", "")):
            statuses.append(int((folder / "requirements.txt").read_text() == FORGED))
            continue
        if "run" in step and (not any(statuses) or "cancelled" in step.get("if", "")):
            given = {key: expressions(value, values) for key, value in step.get("env", {}).items()}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            given |= {"GITHUB_OUTPUT": str(output)}
            output.write_text("")
            done = subprocess.run(command, cwd=folder, env=os.environ | environment | given, check=False)
            pairs = dict(line.split("=", 1) for line in output.read_text().splitlines())
            values |= {f"steps.{step['id']}.outputs.{key}": value for key, value in pairs.items()}
            statuses.append(done.returncode)
    return statuses


@pytest.fixture
def pull_request(built_project: Project, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The runner's checkout of the base branch, beside a bare repository with a pull request; what GitHub knows."""
    author = built_project.clone(tmp_path / "author")
    base = author.run("git", "rev-parse", "HEAD").stdout.strip()
    author.edit_json("metrics/predictions/cnn.json", lambda found: found.update(prediction=[found["label"]]))
    author.commit("results by hand")
    # what would betray it if the runner ran it
    (author.path / "tools/review/__main__.py").write_text("raise SystemExit('the code of a pull request ran')\n")
    (author.path / "requirements.txt").write_text(FORGED)
    author.commit("code that must not run")
    head = author.run("git", "rev-parse", "HEAD").stdout.strip()
    subprocess.run(["git", "clone", "-q", "--bare", str(author.path), str(tmp_path / "github.git")], check=True)
    bare = Project(tmp_path / "github.git")
    bare.run("git", "update-ref", f"refs/pull/{NUMBER}/head", head)
    bare.run("git", "update-ref", bare.run("git", "symbolic-ref", "HEAD").stdout.strip(), base)
    subprocess.run(["git", "clone", "-q", str(bare.path), str(tmp_path / "runner")], check=True)
    shutil.copy(ROOT / "requirements.txt", tmp_path / "runner")
    values = {
        "github.event.number": str(NUMBER),
        "github.event.pull_request.base.sha": base,
        "github.event.pull_request.head.sha": head,
        "github.event.pull_request.head.sha || github.event.workflow_run.head_sha": head,
        "github.server_url": "https://github.com",
        "github.repository": "team/mnist",
        "github.run_id": "99",
        "github.token": "a token",
    }
    return tmp_path / "runner", values


@pytest.fixture
def gh(built_project: Project, pull_request: tuple[Path, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    """The environment of scripts: `gh` is a stand-in, which knows two pull requests."""
    (stand_in := tmp_path / "bin/gh").parent.mkdir()
    stand_in.write_text(GH)
    stand_in.chmod(0o755)
    head, base = (pull_request[1][f"github.event.pull_request.{side}.sha"] for side in ("head", "base"))
    pulls = [
        {"number": 6, "head": {"sha": base}, "base": {"sha": "0" * 40}},
        {"number": NUMBER, "head": {"sha": head}, "base": {"sha": base}},
    ]
    return {
        "PATH": f"{stand_in.parent}{os.pathsep}{built_project.environment['PATH']}",
        "GH_LOG": str(tmp_path / "gh.jsonl"),
        "GH_PULLS": json.dumps(pulls),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


def test_only_a_job_that_runs_nothing_of_the_repository_can_write() -> None:
    assert WORKFLOW["permissions"] == {}
    writing = {name for name, job in WORKFLOW["jobs"].items() if "write" in job["permissions"].values()}
    assert writing == {"comment"}
    assert JOBS["comment"]["permissions"] == {"pull-requests": "write"}
    assert not any("checkout" in step.get("uses", "") for step in JOBS["comment"]["steps"])
    assert not any(re.search(r"python|make|\./|pip", step.get("run", "")) for step in JOBS["comment"]["steps"])


def test_the_code_that_runs_is_the_base_branchs_and_no_script_has_text_of_the_pull_request() -> None:
    assert list(WORKFLOW["on"]) == ["pull_request_target", "workflow_run"]
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout")]
    assert [step["with"] for step in checkouts] == [{"fetch-depth": 0, "persist-credentials": False}]
    assert all(step["uses"].startswith("actions/") for step in STEPS if "uses" in step)
    assert not any(re.search(r"git (checkout|switch|merge |pull|reset|restore)", step.get("run", "")) for step in STEPS)
    assert not any("${{" in step.get("run", "") for job in JOBS.values() for step in job["steps"])


def test_every_action_is_pinned_by_its_commit_and_one_version_of_each_is_used() -> None:
    """A tag such as v4 can be moved to other code; a commit cannot."""
    pinned: dict[str, set[str]] = {}
    for path in (ROOT / ".github/workflows").glob("*.y*ml"):
        for line in path.read_text().splitlines():
            if re.match(r"[ -]*uses:", line):
                found = re.fullmatch(r" *(?:- )?uses: ([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
                assert found, f"{path.name}: {line.strip()}"
                pinned.setdefault(found[1], set()).add(found[2])
    assert len(pinned) == 4
    assert all(len(versions) == 1 for versions in pinned.values()), pinned


def test_every_lock_is_checked_for_known_vulnerabilities() -> None:
    script = (ROOT / ".github/workflows/audit.yml").read_text()
    assert {Path(lock) for lock in re.findall(r" -r (\S+)", script)} == set(LOCKS)


def test_what_runs_a_pull_request_can_only_read() -> None:
    assert list(REPRODUCE["on"]) == ["pull_request"]
    assert REPRODUCE["permissions"] == {"contents": "read"}
    assert "secrets" not in (ROOT / ".github/workflows/reproduce.yml").read_text().partition("jobs:")[2]
    checkout = next(step for step in JOBS["reproduce"]["steps"] if step.get("uses", "").startswith("actions/checkout"))
    assert checkout["with"]["persist-credentials"] is False
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}", "what compares is the base branch's"


def test_the_scripts_review_a_pull_request_and_keep_one_comment(pull_request, gh, tmp_path) -> None:
    runner, values = pull_request
    head = values["github.event.pull_request.head.sha"]
    forged = {"commit": head, "results": {"cnn": ""}}
    (runner / "review").mkdir()
    (runner / "review/reproduced.json").write_text(json.dumps(forged))
    summary = tmp_path / "summary.md"
    assert run_job("review", runner, values, **gh) == [0, 0, 3, 0]  # results by hand: dvc.lock does not match
    assert "| cnn | 100.00 %<br>" in summary.read_text()
    assert "evaluate@cnn: metrics/predictions/cnn.json modified" in summary.read_text()
    assert (
        f"](https://github.com/team/mnist/raw/{values['github.event.pull_request.head.sha']}/plots/"
        in summary.read_text()
    )
    assert "reproduced" not in summary.read_text(), "the pull request changes what gives the verdict"
    artefact = runner / "review"
    assert "100.00 %<br><sub>" in (artefact / "review.html").read_text()

    values["needs.review.outputs.number"] = values["steps.pull.outputs.number"]
    others = [
        {"id": 1, "user": {"login": "someone"}, "body": "<!-- review.yml -->\nnot ours"},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "another workflow's"},
    ]
    ours = {"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- review.yml -->\nof the last push"}
    sent = []
    for comments in (others, [*others, ours]):
        log = tmp_path / f"gh-{len(comments)}.jsonl"
        environment = {"GH_LOG": str(log), "GH_COMMENTS": json.dumps(comments)}
        assert run_job("comment", artefact, values, **gh | environment) == [0]
        sent.append([json.loads(line) for line in log.read_text().splitlines()])
    for (asked, written), expected in zip(
        sent,
        (["POST", "repos/team/mnist/issues/7/comments"], ["PATCH", "repos/team/mnist/issues/comments/3"]),
        strict=True,
    ):
        assert asked[:2] == ["GET", "repos/team/mnist/issues/7/comments"]
        assert written[:2] == expected
        assert written[2].startswith("<!-- review.yml -->\n### Review: ")
        assert "| cnn | 100.00 %<br>" in written[2]
        assert "(https://github.com/team/mnist/actions/runs/99)" in written[2]


def test_a_pull_request_that_was_pushed_to_or_closed_is_not_reviewed(pull_request, gh) -> None:
    runner, values = pull_request
    assert run_job("review", runner, values, **gh | {"GH_PULLS": "[]"})[:2] == [0, 1]
    assert not (runner / "review").exists()


def test_the_base_is_the_branch_that_the_pull_request_is_for(pull_request, gh) -> None:
    """Here one with the results by hand, so that the pull request changes code alone."""
    runner, values = pull_request
    head = values["github.event.pull_request.head.sha"]
    Project(runner).run("git", "fetch", "-q", "origin", f"refs/pull/{NUMBER}/head")
    base = Project(runner).run("git", "rev-parse", f"{head}~1").stdout.strip()
    pulls = json.dumps([{"number": NUMBER, "head": {"sha": head}, "base": {"sha": base}}])
    assert run_job("review", runner, values, **gh | {"GH_PULLS": pulls})[:2] == [0, 0]
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
    assert run_job("reproduce", runner, values, **gh) == [0, 3, 0]
    told = (tmp_path / "summary.md").read_text()
    assert "    cnn: NOT reproduced: differs in metrics/predictions/cnn.json; predictions: " in told
    assert "mlp_256" not in told

    assert run_job("review", runner, values, **gh)[:3] == [0, 0, 3]
    review = (runner / "review/review.md").read_text()
    assert "| **NOT reproduced** |" in review
    assert "Run again, the commit did not give the results that it records" in review
