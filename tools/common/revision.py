"""Reads results from a git revision, the workspace or another folder. All files read are in git."""

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common.errors import PipelineError, one_line
from stages.common.params import PARAMS_PATH
from stages.common.yaml import parse_yaml


def git(*arguments: str, **environment: str) -> bytes:
    """Runs git, with extra environment variables, and returns its output. Raises `PipelineError` if it fails."""
    try:
        done = subprocess.run(["git", *arguments], env=os.environ | environment, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PipelineError("git: no such command; install git") from error
    if done.returncode:
        raise PipelineError(f"git {' '.join(arguments)}: {one_line(done.stderr.decode(errors='replace'))}")
    return done.stdout


@functools.cache  # a commit does not change, and several parts of a review read the same files
def _read(commit: str, path: str) -> bytes | None:
    return git("show", f"{commit}:./{path}") if git("ls-tree", commit, path) else None


@dataclass(frozen=True)
class Revision:
    """A commit, under the name that the user gave; or the workspace or another folder, with `commit` None."""

    name: str
    commit: str | None
    folder: Path = Path()

    @classmethod
    def find(cls, name: str) -> "Revision":
        """Finds the commit for a name such as main or HEAD~1. Raises `PipelineError` if there is none."""
        try:
            commit = git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").decode().strip()
        except PipelineError as error:
            if git("rev-parse", "--is-shallow-repository").strip() == b"true":
                hint = "run: git fetch --unshallow (in CI: actions/checkout with fetch-depth: 0)"
                raise PipelineError(f"{name}: not in this shallow clone; {hint}") from error
            raise PipelineError(f"{name}: expected a git revision, such as main or HEAD~1 ({error})") from error
        return cls(name, commit)

    def __str__(self) -> str:
        if self.commit is None:
            return self.name
        short = self.commit[:7]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"

    def read(self, path: str | Path) -> bytes | None:
        """A file's content, or `None` if it does not exist. The path is relative to the project's folder."""
        if self.commit is None:
            return (self.folder / path).read_bytes() if (self.folder / path).is_file() else None
        return _read(self.commit, str(path))

    def read_json(self, path: str | Path) -> Any:
        """A JSON file's content, or `None` if it does not exist."""
        content = self.read(path)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise PipelineError(f"{path} in {self}: not valid JSON: {error}") from error

    def read_yaml(self, path: str | Path) -> dict[str, Any]:
        """A YAML file's content, or {} if it does not exist."""
        found = parse_yaml(self.read(path) or b"{}", f"{path} in {self}")
        if not isinstance(found, dict):
            raise PipelineError(f"{path} in {self}: expected keys and values, found {type(found).__name__}")
        return found

    def params(self) -> dict[str, Any]:
        """The content of params.yaml, unchecked, because an older one may have another schema."""
        return self.read_yaml(PARAMS_PATH)


WORKSPACE = Revision("workspace", None)


@contextmanager
def checked_out(revision: Revision) -> Iterator[Path]:
    """Yields a folder with the revision's files: the workspace, or a temporary copy with an empty git repository."""
    if revision.commit is None:
        yield Path()
        return
    prefix = git("rev-parse", "--show-prefix").decode().strip()
    with tempfile.TemporaryDirectory() as folder:
        tree, index = Path(folder, "tree"), {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", revision.commit, **index)
        git("checkout-index", "--all", f"--prefix={tree}/", **index)
        git("init", "--quiet", str(tree))  # DVC requires a repository
        yield tree / prefix
