"""Reads results from a git revision, the workspace or another folder. All files read are in git."""

import functools
import hashlib
import json
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pathspec import GitIgnoreSpec

from stages.data.places import OWN
from stages.support.errors import PipelineError, unreadable
from stages.support.json import MAX_BYTES, parse_json
from stages.support.notation import Section
from stages.support.params import PARAMS_PATH
from stages.support.yaml import parse_yaml
from tools.common.git import git

MAX_TOTAL = 4_000_000_000  # bytes read of one commit, together
MAX_FILES = 20_000  # in a folder
FILE_MODES, FOLDER_MODE = ("100644", "100755"), "040000"  # modes in git; others are of links
OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_LITERAL_PATHSPECS": "1"}  # reads what is here, by the path as it is written
_read_bytes: Counter[str] = Counter()  # of each commit
T = TypeVar("T", bound=Section)


@functools.cache
def _check_complete(commit: str) -> None:
    """Raises `PipelineError`, with the command that fetches them, if a partial clone lacks files of the project."""
    try:
        git("rev-list", "--objects", "--quiet", "--no-walk", commit, "--", ".", **OFFLINE)
    except PipelineError as error:
        settings = git("config", "--list", "--name-only").decode(errors="replace")
        if partial := re.search(r"^remote\.(.+)\.promisor$", settings, re.MULTILINE):
            fetch = f"git fetch --refetch --no-filter {shlex.quote(partial[1])} {commit}"
            raise PipelineError(f"{commit[:7]}: not all of it is in this partial clone", f"run: {fetch}") from error


@functools.lru_cache(maxsize=10_000)  # a commit does not change, and several parts of a review read the same files
def _entry(commit: str, path: str) -> tuple[str, str, int] | None:
    """Looks a path up in a commit: its mode, its object, and the size of that in bytes; `None` if there is none."""
    listed = git("ls-tree", "-l", "-z", commit, "--", path, **OFFLINE)
    if not listed:
        return None
    mode, _, digest, size = listed.partition(b"\t")[0].decode().split()
    return mode, digest, 0 if size == "-" else int(size)


@functools.lru_cache(maxsize=64)
def _read(commit: str, path: str) -> bytes | None:
    """Reads a file of a commit from git's objects. Follows no link, and fetches nothing."""
    entry = _entry(commit, path)
    if entry is None:
        return None
    mode, digest, size = entry
    if mode not in FILE_MODES:
        kind = "folder" if mode == FOLDER_MODE else "link"
        raise PipelineError(f"{path} in {commit[:7]}: expected a file, found a {kind}")
    _check_size(size, f"{path} in {commit[:7]}")
    _read_bytes[commit] += size
    if _read_bytes[commit] > MAX_TOTAL:
        raise PipelineError(f"{commit[:7]}: expected results of at most {MAX_TOTAL:,} bytes together, found more")
    return git("cat-file", "blob", digest, **OFFLINE)


def _check_size(size: int, where: str) -> None:
    if size > MAX_BYTES:
        raise PipelineError(f"{where}: expected at most {MAX_BYTES:,} bytes, found {size:,}")


@functools.cache
def _ignored(rules: str) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(rules.splitlines())


@functools.lru_cache(maxsize=8)
def _parse_yaml(content: bytes, where: str) -> Any:
    """Parses YAML; returns the error if that fails, to be cached too, as failing takes as long."""
    try:
        return parse_yaml(content, where)
    except PipelineError as error:
        return error


@dataclass(frozen=True)
class Revision:
    """A commit, under the name that the user gave; or the workspace or another folder, with `commit` None.

    Raises `PipelineError` if not all of the commit is here, as nothing is fetched.
    """

    name: str
    commit: str | None
    folder: Path = Path()

    def __post_init__(self) -> None:
        if self.commit is not None:
            _check_complete(self.commit)

    @classmethod
    def find(cls, name: str) -> "Revision":
        """Finds the commit for a name such as main or HEAD~1. Raises `PipelineError` if there is none."""
        try:
            commit = git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").decode().strip()
        except PipelineError as error:
            if git("rev-parse", "--is-shallow-repository").strip() == b"true":
                hint = "run: git fetch --unshallow (in CI: actions/checkout with fetch-depth: 0)"
                raise PipelineError(f"{name}: not in this shallow clone", hint) from error
            hint = "git branch --all lists branches"
            raise PipelineError(f"{name}: expected a git revision, such as main or HEAD~1", hint) from error
        return cls(name, commit)

    def __str__(self) -> str:
        if self.commit is None:
            return self.name
        short = self.commit[:7]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"

    def read(self, path: str | Path) -> bytes | None:
        """Reads a file, `None` if it does not exist. The path is relative to the project's folder."""
        if self.commit is not None:
            return _read(self.commit, str(path))
        with unreadable(where := f"{path} in {self}", "a path"):
            file = self._locate(path)
            if file.is_dir():
                raise PipelineError(f"{where}: expected a file, found a folder")
            if not file.is_file():
                return None
            _check_size(file.stat().st_size, where)
            return file.read_bytes()

    def _locate(self, path: str | Path) -> Path:
        """Returns the absolute path of a file; raises `PipelineError` if it is outside the folder or behind a link."""
        root = self.folder.resolve()
        file = root / path
        if file.resolve() != file or not file.is_relative_to(root):
            what = "a link" if file.is_relative_to(root) and ".." not in file.parts else "a path that leads elsewhere"
            raise PipelineError(f"{path} in {self}: expected a file, found {what}")
        return file

    def digest(self, path: str) -> str | None:
        """Computes the MD5 of a file or folder, as DVC does, without what it ignores; `None` if it does not exist."""
        names = self._names(path)
        if names is None:
            content = self.read(path)
            return None if content is None else _md5(content)
        rules = Path(".dvcignore")  # this checkout's: a stranger's patterns could take hours to match
        ignored = _ignored(rules.read_text("utf-8") if rules.exists() else "")
        md5s = {name: self._md5(f"{path}/{name}") for name in names if not ignored.match_file(f"{path}/{name}")}
        for name in [name for name in md5s if name.endswith(".dvc")]:  # in git in place of what `dvc add` tracks
            tracked = name.removesuffix(".dvc")
            if not any(other == tracked or other.startswith(f"{tracked}/") for other in md5s):
                md5s[tracked] = self._tracked_md5(f"{path}/{name}")
        files = [{"md5": md5s[name], "relpath": name} for name in sorted(md5s)]
        return _md5(json.dumps(files).encode()) + ".dir"

    def _md5(self, path: str) -> str:
        if self.commit is None and OWN in Path(path).parents:  # may be large
            with unreadable(f"{path} in {self}", "a file"), self._locate(path).open("rb") as stream:
                return hashlib.file_digest(stream, _new_md5).hexdigest()
        return _md5(self.read(path) or b"")

    def _tracked_md5(self, path: str) -> str:
        """Reads the MD5 that `dvc add` recorded for a file; raises `PipelineError` for a folder."""
        with unreadable(f"{path} in {self}", "what dvc add writes"):
            md5 = str(self.read_yaml(path)["outs"][0]["md5"])
        if md5.endswith(".dir"):
            raise PipelineError(f"{path} in {self}: git does not have the list of files of this folder")
        return md5

    def _names(self, folder: str) -> list[str] | None:
        """Lists the paths of all files in a folder, relative to it; `None` if it is no folder."""
        if self.commit is None:
            with unreadable(f"{folder} in {self}", "a folder"):
                root = self._locate(folder)
                paths = list(islice(root.rglob("*"), MAX_FILES + 1))
                self._check_count(len(paths), folder)
                return [str(path.relative_to(root)) for path in paths if path.is_file()] if root.is_dir() else None
        entry = _entry(self.commit, folder)
        if entry is None or entry[0] != FOLDER_MODE:
            return None
        files: list[str] = []
        folders = [folder]
        for inner in folders:
            listed = git("ls-tree", "-z", self.commit, "--", f"{inner}/", **OFFLINE).decode(errors="replace")
            for line in listed.split("\0")[:-1]:
                described, _, path = line.partition("\t")
                (folders if described.startswith(FOLDER_MODE) else files).append(path)
            self._check_count(len(folders) + len(files), folder)
        return [path.removeprefix(f"{folder}/") for path in files]

    def _check_count(self, count: int, folder: str) -> None:
        if count > MAX_FILES:
            raise PipelineError(f"{folder} in {self}: expected at most {MAX_FILES:,} files, found more")

    def read_json(self, path: str | Path) -> Any:
        """Reads a JSON file, `None` if it does not exist."""
        content = self.read(path)
        return None if content is None else parse_json(content, f"{path} in {self}")

    def read_yaml(self, path: str | Path) -> dict[str, Any]:
        """Reads a YAML file, {} if it does not exist. Callers must not change what it returns."""
        content = _parse_yaml(self.read(path) or b"{}", f"{path} in {self}")
        if isinstance(content, PipelineError):
            raise content
        if not isinstance(content, dict):
            raise PipelineError(f"{path} in {self}: expected keys and values, found {type(content).__name__}")
        return content

    def params(self) -> dict[str, Any]:
        """Reads params.yaml, unchecked, because an older one may have another schema."""
        return self.read_yaml(PARAMS_PATH)

    def section(self, name: str, kind: type[T]) -> T:
        """Reads a section of params.yaml; raises `PipelineError` if it is missing or has another schema."""
        try:
            return kind.model_validate(self.params()[name])
        except (LookupError, ValueError) as error:
            raise PipelineError(f"{PARAMS_PATH} in {self}: {name}: not as expected") from error


WORKSPACE = Revision("workspace", None)
_new_md5 = functools.partial(hashlib.md5, usedforsecurity=False)


def _md5(content: bytes) -> str:
    return _new_md5(content).hexdigest()


NO_FILES = f"{_md5(b'[]')}.dir"  # the digest of an empty folder
