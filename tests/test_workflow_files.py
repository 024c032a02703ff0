"""What the workflows in .github/ may do, wait for and hand over, read from their files."""

import re
from pathlib import Path

import pytest

from tools.environment import LOCKS
from tools.review.content import GATES

from .conftest import ROOT, Project
from .workflows import WORKFLOWS

JOBS = {f"{name}/{job}": content for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()}
STEPS = [(name, step) for name, job in JOBS.items() for step in job.get("steps", [])]
FOREIGN = {"reproduce", "train", "ci"}  # these run a pull request's own code


def rights(name: str, job: dict) -> dict:
    return job.get("permissions", WORKFLOWS[name.partition("/")[0]]["permissions"])


def test_only_jobs_that_run_nothing_of_a_pull_request_can_write() -> None:
    writing = {name: rights(name, job) for name, job in JOBS.items() if "write" in rights(name, job).values()}
    assert writing == {
        "review/comment": {"pull-requests": "write"},
        "trained/commit": {"actions": "read", "contents": "write"},
        "trained/review": {"actions": "read", "contents": "read", "pull-requests": "write"},  # of review.yml's jobs
    }
    scripts = [step.get("run", "") for name, step in STEPS if name in writing]
    assert not [script for script in scripts if re.search(r"\bmake\b|pip|\./|python3? (?!-m tools.trained )", script)]
    assert not [step for name, step in STEPS if name == "review/comment" and "checkout" in step.get("uses", "")]


def test_what_runs_a_pull_request_can_only_read_and_leaves_nothing_for_other_runs() -> None:
    for name in FOREIGN:
        assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
        assert {"pull_request_target", "workflow_run"}.isdisjoint(WORKFLOWS[name]["on"])
        assert "secrets" not in (ROOT / f".github/workflows/{name}.yml").read_text().partition("jobs:")[2]
    saves = [(name, step["if"]) for name, step in STEPS if "cache/save" in step.get("uses", "")]
    assert saves == [("train/train", "${{ github.event_name == 'push' }}")]
    only_there = "github.event_name == 'push' && github.ref_name == github.event.repository.default_branch ||"
    others = "github.event_name == 'workflow_dispatch' || github.event.label.name == 'train'"
    assert JOBS["train/train"]["if"] == f"{only_there} {others}"
    done = "github.event.workflow_run.conclusion == 'success' && github.event.workflow_run.event != 'push'"
    assert JOBS["trained/commit"]["if"] == f"${{{{ {done} }}}}", "what a training leaves that failed is not committed"


def test_what_a_workflow_waits_for_and_takes_over_exists() -> None:
    waits_for = {name: flow["on"].get("workflow_run", {}).get("workflows", []) for name, flow in WORKFLOWS.items()}
    assert {name: some for name, some in waits_for.items() if some} == {"review": ["reproduce"], "trained": ["train"]}
    assert all(flow["name"] == name for name, flow in WORKFLOWS.items())
    named = [(name.partition("/")[0], step["uses"], step["with"].get("name")) for name, step in STEPS if "with" in step]
    uploads = {(name, artefact) for name, action, artefact in named if "/upload-artifact@" in action}
    downloads = {(name, artefact) for name, action, artefact in named if "/download-artifact@" in action}
    assert len(downloads) == 3
    for name, artefact in downloads:
        assert uploads & {(other, artefact) for other in (name, *waits_for[name])}, artefact


def test_what_starts_a_workflow() -> None:
    starts = {name: flow["on"] for name, flow in WORKFLOWS.items()}
    ended = {
        name: {"workflows": [other], "types": ["completed"]}
        for name, other in (("review", "reproduce"), ("trained", "train"))
    }
    assert starts.pop("audit").keys() == {"schedule", "workflow_dispatch"}
    assert starts.pop("review").items() >= {"pull_request_target": None, "workflow_run": ended["review"]}.items()
    assert starts == {
        "ci": {"push": None, "pull_request": None},
        "reproduce": {"pull_request": None},
        "train": {"pull_request": {"types": ["labeled"]}, "workflow_dispatch": None, "push": {"paths": ["dvc.lock"]}},
        "trained": {"workflow_run": ended["trained"]},
    }
    assert JOBS["review/comment"]["if"] == "${{ !cancelled() }}", "a gate that fails is told"
    deep = {name for name, step in STEPS if step.get("with", {}).get("fetch-depth") == 0}
    assert deep == {"review/review", "reproduce/reproduce"}, "which compare with the base"


def test_ci_runs_all_checks_on_all_systems() -> None:
    assert JOBS["ci/test"]["strategy"]["matrix"] == {
        "os": ["ubuntu-24.04", "macos-15"],
        "python": ["3.11", "3.12", "3.13"],
    }
    scripts = {name: [step["run"] for other, step in STEPS if other == name and "run" in step] for name in JOBS}
    assert scripts["ci/test"] == [".ci/run"]
    assert scripts["ci/verify"][-1] == "make verify"
    script = (ROOT / ".ci/run").read_text()
    assert "set -e" in script
    assert script.endswith("\nmake check\nmake test\n")


@pytest.fixture
def review_script() -> str:
    return next(step["run"] for name, step in STEPS if name == "review/review" and step.get("name") == "review")


def test_a_review_fails_on_all_gates(review_script: str) -> None:
    assert f"--fail-on {' '.join(GATES)}\n" in review_script


BELIEVED = ["params.yaml", "dvc.lock", "data/raw/mnist.json", "metrics/predictions/cnn.json", "plots/history/cnn.csv"]
BELIEVED += ["plots/confusion/cnn.png", "README.md", "docs/data.md"]
DOUBTED = ["dvc.yaml", "docs/dvc.yaml", ".dvc/config", ".dvcignore", "stages/train.py", "tools/common/git.py"]
DOUBTED += ["Makefile", "requirements.txt", "pandas.py", "numpy/__init__.py", "plots/a.json/b.py", ".github/x.yml"]


@pytest.mark.parametrize("path", [*BELIEVED, *DOUBTED])
def test_a_review_believes_a_run_of_the_code_of_the_base_alone(review_script: str, path: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    reproduced = project.path / "review/reproduced.json"
    reproduced.parent.mkdir(parents=True)
    reproduced.touch()
    project.run("git", "init", "-q", "-b", "main")
    project.commit("base")
    (project.path / path).parent.mkdir(parents=True, exist_ok=True)
    (project.path / path).touch()
    project.commit("head")
    lines = review_script.partition("python -m tools.review")[0]
    project.run("env", "BASE=HEAD~1", "HEAD=HEAD", "bash", "-euc", lines)
    assert reproduced.exists() == (path in BELIEVED)


def test_all_else_runs_code_of_the_base_or_the_default_branch() -> None:
    places = {name: step["with"].get("ref") for name, step in STEPS if "actions/checkout" in step.get("uses", "")}
    assert places == {
        **dict.fromkeys(["audit/audit", "ci/test", "ci/verify", "review/review", "trained/commit"]),
        "reproduce/reproduce": "${{ github.event.pull_request.base.sha }}",
        "train/train": "${{ github.event.pull_request.head.sha || github.sha }}",
    }
    assert not [
        name
        for name, step in STEPS
        if name.partition("/")[0] in ("review", "trained")
        and re.search(r"git (checkout|switch|merge |pull|reset|restore)", step.get("run", ""))
    ]


def test_every_lock_is_checked_for_known_vulnerabilities() -> None:
    script = (ROOT / ".github/workflows/audit.yml").read_text()
    assert {Path(lock) for lock in re.findall(r" -r (\S+)", script)} == set(LOCKS)
