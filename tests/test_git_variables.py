"""What git tells a hook of its repository reaches no other repository, and does not mislead DVC."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Project
from .reviews import review


def local_variables() -> list[str]:
    told = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    return told.stdout.split()


def test_no_variable_of_one_repository_reaches_what_tools_start() -> None:
    kept = {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}  # settings such as safe.directory
    code = "import json, os, tools; print(json.dumps(dict(os.environ)))"
    environment = os.environ | dict.fromkeys(local_variables(), "0")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert set(local_variables()) & set(json.loads(done.stdout)) == kept


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
