"""train.yml and trained.yml: results that CI trained come back as one commit or a patch, and nothing else does."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from tools import trained

from .conftest import Project
from .workflows import GH, run_job, serve, stand_in

MAKE = """\
#!/bin/sh
test "$*, allow missing: $ALLOW_MISSING" = "repro, allow missing: 1" || exit 1
git fetch -q {0} results && git diff --binary HEAD FETCH_HEAD | git apply
"""


@pytest.fixture
def edit(changed: Project, tmp_path: Path) -> Project:
    """A branch `edit` with params of `changed` on top of `main`, without results, which trained.yml's runner knows."""
    author = changed.clone(tmp_path / "author")
    author.run("git", "branch", "-M", "main")
    author.edit_json("data/raw/mnist.json", lambda description: description.update(source=["elsewhere"]))
    author.run("git", "commit", "-q", "--all", "--amend", "--no-edit")
    author.run("git", "branch", "results")
    author.run("git", "reset", "-q", "--hard", "HEAD~1")
    author.run("git", "switch", "-qc", "edit")
    author.run("git", "checkout", "-q", "results", "--", "params.yaml")
    author.commit("an edit")
    bare = serve(author, "edit", "edit~1", tmp_path)
    bare.run("git", "branch", "-D", "results")
    return author


@pytest.fixture
def patch(edit: Project, tmp_path: Path) -> Path:
    """What train.yml hands over: the results of the edit."""
    (path := tmp_path / "runner/trained/results.patch").parent.mkdir()
    path.write_text(edit.run("git", "diff", "--binary", "edit", "results").stdout)
    return path


@pytest.fixture
def hand_back(edit: Project, tmp_path: Path) -> Callable[..., tuple[list[int], dict[str, str]]]:
    """Runs trained.yml's first job for a branch of a repository; returns the exit statuses and the outputs."""
    stand_in("gh", GH, tmp_path / "bin")
    variables = {"PATH": f"{tmp_path}/bin{os.pathsep}{edit.environment['PATH']}", "GH_LOG": str(tmp_path / "gh.jsonl")}

    def run(repository: str = "team/mnist", branch: str = "edit") -> tuple[list[int], dict[str, str]]:
        values = {
            "github.token": "a token",
            "github.repository": "team/mnist",
            "github.event.workflow_run.head_sha": revision(edit, "edit"),
            "github.event.workflow_run.head_branch": branch,
            "github.event.workflow_run.head_repository.full_name": repository,
        }
        statuses = run_job("trained", "commit", tmp_path / "runner", values, **variables)
        return statuses, {key.split(".")[3]: text for key, text in values.items() if key.startswith("steps.commit")}

    return run


def revision(project: Project, name: str) -> str:
    return project.run("git", "rev-parse", name).stdout.strip()


@pytest.fixture
def github(edit: Project, tmp_path: Path) -> Project:  # noqa: ARG001  makes it
    return Project(tmp_path / "github.git")


def test_what_ci_trains_comes_back_as_one_commit_with_the_results_alone(hand_back, edit, github, tmp_path) -> None:
    """train.yml in a fresh clone of the pull request, where `make repro` gives the author's; then trained.yml."""
    stand_in("make", MAKE.format(edit.path), tmp_path / "bin")
    here = edit.git_clone(tmp_path / "training")
    environment = here.environment | {"PATH": f"{tmp_path}/bin{os.pathsep}{here.environment['PATH']}"}
    values = {"github.event_name != 'push' && '1' || ''": "1"}
    assert run_job("train", "train", here.path, values, **environment) == [0, 0]
    (tmp_path / "runner/trained").mkdir()
    (here.path / "results.patch").rename(tmp_path / "runner/trained/results.patch")
    statuses, handed = hand_back()
    commit = revision(github, "edit")
    assert statuses == [0]
    assert handed == {"head": commit, "note": f"Trained: {commit} has the results."}
    assert revision(github, "edit~1") == revision(edit, "edit")
    edit.run("git", "fetch", "-q", str(github.path), "edit")
    difference = edit.run("git", "diff", "FETCH_HEAD", "results").stdout
    assert not difference, "all results, deleted ones too, and nothing else"
    author, subject = github.run("git", "log", "-1", "--format=%an <%ae>%n%s", "edit").stdout.splitlines()
    assert author == "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"
    assert subject == "Results, trained by CI"


@pytest.mark.usefixtures("patch")
def test_a_fork_gets_a_patch_for_git_am(hand_back, edit, github, tmp_path) -> None:
    before = github.run("git", "for-each-ref").stdout
    statuses, handed = hand_back("someone/mnist", "main")  # as a fork's branch may be called
    assert statuses == [0]
    assert handed["head"] == revision(edit, "edit"), "what is reviewed is still the pull request"
    assert "`git am results.patch`" in handed["note"]
    assert github.run("git", "for-each-ref").stdout == before
    edit.run("git", "am", "-q", str(tmp_path / "runner/results.patch"))
    assert not edit.run("git", "diff", "edit", "results").stdout


def test_a_newer_push_is_not_overwritten_and_a_branch_that_is_gone_stays_away(hand_back, patch, github, capfd) -> None:
    newer = github.run("git", "commit-tree", "edit^{tree}", "-p", "edit", "-m", "newer").stdout.strip()
    head, results = revision(github, "edit"), patch.read_text()
    patch.write_text("")
    assert hand_back() == ([0], {"head": head, "note": f"Nothing to train: dvc.lock has the results of {head}."})
    assert revision(github, "edit") == head

    patch.write_text(results)
    github.run("git", "update-ref", "refs/heads/edit", newer)
    assert hand_back() == ([1], {})
    assert "the branch was pushed to while this trained; set the label again" in capfd.readouterr().out
    assert revision(github, "edit") == newer
    github.run("git", "branch", "-D", "edit")
    assert hand_back() == ([1], {})
    assert github.run("git", "branch", "--list", "edit").stdout == ""


LINK, PROGRAM = lambda path: path.symlink_to("/etc/passwd"), lambda path: path.touch(mode=0o755)
HOSTILE = {
    "a workflow": (".github/workflows/x.yml", "on: push\n", "expected only dvc.lock"),
    "code": ("stages/x.py", "raise SystemExit\n", "expected only dvc.lock"),
    "params": ("params.yaml", "{}\n", "expected only dvc.lock"),
    "a file that is gone": ("dvc.yaml", Path.unlink, "expected only dvc.lock"),
    "git's settings": ("plots/.gitattributes", "* filter=x\n", "expected only dvc.lock"),
    "a name with a line": ("plots/a\nb.csv", "1\n", "expected only dvc.lock"),
    "a longer name": ("dvc.lock.py", "raise SystemExit\n", "expected only dvc.lock"),
    "a name that ends as a result": ("stages/metrics/x.json", "{}\n", "expected only dvc.lock"),
    "a page": ("plots/x.html", "<script>\n", "expected only dvc.lock"),
    "a link": ("metrics/x.json", LINK, "expected a plain file (mode 100644), found mode 120000"),
    "a program": ("metrics/x.json", PROGRAM, "expected a plain file (mode 100644), found mode 100755"),
    "a large file": ("metrics/x.json", "1" * 5_000_001, "expected at most 5 MB, found 5.0 MB"),
    "no picture": ("plots/x.png", "<svg>", "expected a PNG picture, found other bytes"),
    "no text": ("plots/x.csv", "a\0b", "expected text, found other bytes"),
}
DAMAGED = {
    "no patch\n": "git apply --cached ",
    "--- a/metrics/x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n": "git apply --cached ",
    "x" * 50_000_001: "results.patch: expected at most 50 MB, found 50.0 MB",
}


def test_all_results_together_have_a_limit(edit, patch, monkeypatch) -> None:
    monkeypatch.chdir(edit.path)
    paths = [Path("dvc.lock"), Path("plots/tables/mlp_256/errors.csv")]
    for path in paths:
        path.write_text(path.read_text() + "1\n")
    patch.write_text(edit.run("git", "diff", "--binary").stdout)
    size = sum(path.stat().st_size for path in paths)
    monkeypatch.setattr(trained, "MAX_PATCH", size)
    assert trained.make_commit(patch, "HEAD")
    monkeypatch.setattr(trained, "MAX_PATCH", size - 1)
    with pytest.raises(PipelineError, match=r"results\.patch: expected at most 0 MB, found 0\.0 MB"):
        trained.make_commit(patch, "HEAD")


def test_a_hostile_or_damaged_patch_is_refused_in_one_line(patch, hand_back, edit, github, capfd) -> None:
    def refused(text: str, message: str) -> None:
        patch.write_text(text)
        assert hand_back() == ([1], {}), message
        line = capfd.readouterr().err.strip()
        assert message in line
        assert line.startswith("error: ")
        assert "\n" not in line
        assert revision(github, "edit") == revision(edit, "edit")

    for path, content, message in HOSTILE.values():
        (target := edit.path / path).parent.mkdir(parents=True, exist_ok=True)
        content(target) if callable(content) else target.write_text(content)
        edit.run("git", "add", "--force", path)
        refused(edit.run("git", "diff", "--cached", "--binary", "edit").stdout, message)
        edit.run("git", "reset", "-q", "--hard")
    for text, message in DAMAGED.items():
        refused(text, message)
