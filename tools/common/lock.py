"""Reads dvc.lock, where DVC records each stage's last run."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.common.yaml import read_yaml
from tools.common.revision import Revision

LOCK = Path("dvc.lock")
PER_SEED = ("train", "evaluate")  # stages that each architecture has for each seed
# As DVC writes it anew: its version, then one block an entry. Comments, other sections and longer names are not simple.
SIMPLE = re.compile(r"schema: '2\.0'\nstages:\n(?:  [\w@.-]+:\n(?:    .*\n)+)*")


def read_lock(path: Path = LOCK) -> dict[str, Any]:
    """Entries of a dvc.lock by stage; empty if the file does not exist."""
    content = read_yaml(path) if path.exists() else {}
    return (content or {}).get("stages") or {}


def split(text: str) -> tuple[str, dict[str, str]] | None:
    """The lines before the entries, and the lines of each stage's entry; `None` if it is not as DVC writes it."""
    if not SIMPLE.fullmatch(text):
        return None
    head, *blocks = re.split(r"^(?=  \S)", text, flags=re.MULTILINE)
    return head, {block.partition("\n")[0].strip(" :"): block for block in blocks}


def stages_of(revision: Revision) -> dict[str, Any]:
    """Entries of dvc.lock by stage, without those that DVC keeps for removed architectures and seeds."""
    entries = revision.read_yaml(LOCK).get("stages") or {}
    params = revision.params()
    names = [*(params.get("architectures") or ()), *(params.get("ensembles") or ())]
    seeds = (params.get("train") or {}).get("seeds") or ()
    named = {*names, *(f"{name}-{seed}" for name in names for seed in seeds)}
    return {stage: entry for stage, entry in entries.items() if "@" not in stage or stage.partition("@")[2] in named}


def owner(stage: str, names: Iterable[str]) -> str:
    """The architecture or ensemble of a stage: of `report@cnn` and `train@cnn-10` it is cnn; else empty.

    Of `train@cnn`, as it was before there were several seeds, it is cnn too.
    """
    group, _, name = stage.partition("@")
    trained = name.rpartition("-")[0]
    return trained if group in PER_SEED and trained in names else name


def digests(stage: dict[str, Any], key: str) -> dict[str, str]:
    """MD5 by path of a stage's `deps` or `outs`."""
    return {item["path"]: item.get("md5") for item in stage.get(key, [])}
