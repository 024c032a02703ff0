"""Reads dvc.lock, where DVC records each stage's last run."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stages.support.dvc_cache import LOCK
from stages.support.errors import PipelineError
from stages.support.notation import explain
from stages.support.yaml import CONFLICT, read_yaml
from tools.common.predictions import architectures_of
from tools.common.revision import Revision

# As DVC writes it anew: its version, then one block an entry. Comments, other sections and longer names are not simple.
SIMPLE = re.compile(r"schema: '2\.0'\nstages:\n(?:  [\w@.-]+:\n(?:    .*\n)+)*")


@dataclass
class _File:
    path: str
    md5: str | None = None


@dataclass
class _Entry:
    """What DVC records of a stage, as far as tools read it."""

    cmd: str | list[str] = ""
    deps: list[_File] = field(default_factory=list)
    outs: list[_File] = field(default_factory=list)
    params: dict[str, dict[str, Any]] = field(default_factory=dict)


ENTRIES = TypeAdapter(dict[str, _Entry])


def read_lock(path: Path = LOCK) -> dict[str, Any]:
    """Reads the entries of a dvc.lock by stage; empty if the file does not exist."""
    content = read_yaml(path) if path.exists() else {}
    return (content or {}).get("stages") or {}


def is_in_conflict() -> bool:
    """Whether dvc.lock holds both sides of a merge, as git writes them."""
    return LOCK.is_file() and CONFLICT in LOCK.read_bytes()


def split(text: str) -> tuple[str, dict[str, str]] | None:
    """Splits a dvc.lock into the lines before the entries and those of each entry; `None` if not as DVC writes it."""
    if not SIMPLE.fullmatch(text):
        return None
    head, *blocks = re.split(r"^(?=  \S)", text, flags=re.MULTILINE)
    return head, {block.partition("\n")[0].strip(" :"): block for block in blocks}


def entries_of(revision: Revision) -> dict[str, Any]:
    """Reads the entries of dvc.lock by stage. Raises `PipelineError` if they are not as DVC writes them."""
    entries = revision.read_yaml(LOCK).get("stages") or {}
    try:
        ENTRIES.validate_python(entries)
    except ValidationError as error:
        raise PipelineError(f"{LOCK} in {revision}: stages.{explain(error.errors()[0])}") from error
    return entries


def stages_of(revision: Revision) -> dict[str, Any]:
    """Reads the entries as `entries_of`, without those that DVC keeps for removed architectures."""
    entries, names = entries_of(revision), architectures_of(revision)
    return {stage: entry for stage, entry in entries.items() if "@" not in stage or stage.partition("@")[2] in names}


def digests(stage: dict[str, Any], key: str) -> dict[str, str]:
    """Returns the MD5 by path of a stage's `deps` or `outs`."""
    return {item["path"]: item.get("md5") for item in stage.get(key, [])}
