"""A state of the project to read results from: a git revision, the workspace or a folder. What is read is in git."""

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
    """What a git command prints, with more variables in its environment; raises `PipelineError` if it fails."""
    try:
        done = subprocess.run(["git", *arguments], env=os.environ | environment, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PipelineError("git: no such command; install git") from error
    if done.returncode:
        raise PipelineError(f"git {' '.join(arguments)}: {one_line(done.stderr.decode(errors='replace'))}")
    return done.stdout


@dataclass(frozen=True)
class Revision:
    """A commit with the name that the user gave it; or the workspace or another folder, which have no commit."""

    name: str
    commit: str | None
    folder: Path = Path()

    @classmethod
    def find(cls, name: str) -> "Revision":
        """The commit that `name` means to git."""
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
        """A file's content, `None` if there is no such file; the path counts from the project's folder."""
        if self.commit is None:
            return (self.folder / path).read_bytes() if (self.folder / path).is_file() else None
        return git("show", f"{self.commit}:./{path}") if git("ls-tree", self.commit, str(path)) else None

    def read_json(self, path: str | Path) -> Any:
        """A JSON file's content, `None` if there is no such file."""
        content = self.read(path)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise PipelineError(f"{path} in {self}: not valid JSON: {error}") from error

    def read_yaml(self, path: str | Path) -> dict[str, Any]:
        """A YAML file's content, {} if there is no such file."""
        found = parse_yaml(self.read(path) or b"{}", f"{path} in {self}")
        if not isinstance(found, dict):
            raise PipelineError(f"{path} in {self}: expected keys and values, found {type(found).__name__}")
        return found

    def params(self) -> dict[str, Any]:
        """params.yaml as it is, unchecked: an older one may follow another schema."""
        return self.read_yaml(PARAMS_PATH)


WORKSPACE = Revision("workspace", None)


@contextmanager
def checked_out(revision: Revision) -> Iterator[Path]:
    """A folder with the revision's files: the workspace itself, or a temporary copy that shares nothing with git."""
    if revision.commit is None:
        yield Path()
        return
    prefix = git("rev-parse", "--show-prefix").decode().strip()
    with tempfile.TemporaryDirectory() as folder:
        tree, index = Path(folder, "tree"), {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", revision.commit, **index)
        git("checkout-index", "--all", f"--prefix={tree}/", **index)
        git("init", "--quiet", str(tree))  # DVC asks for a repository
        yield tree / prefix
