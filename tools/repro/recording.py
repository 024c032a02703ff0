"""Keeps dvc.lock in the order of `dvc repro`."""

import re
from collections.abc import Iterable
from pathlib import Path

from stages.common.files import write_text
from tools.common.lock import LOCK

# As DVC writes it anew: its version, then one block an entry. Comments, other sections and longer names are not simple.
SIMPLE = re.compile(r"schema: '2\.0'\nstages:\n(?:  [\w@.-]+:\n(?:    .*\n)+)*")


def reorder(names: Iterable[str], path: Path = LOCK) -> None:
    """Puts the entries of these stages, where they are there, into this order, and before others.

    Leaves a dvc.lock that is not as DVC itself writes it as it is.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if not SIMPLE.fullmatch(before):
        return
    head, *blocks = re.split(r"^(?=  \S)", before, flags=re.MULTILINE)
    entries = {block.partition("\n")[0].strip(" :"): block for block in blocks}
    ordered = {name: entries[name] for name in names if name in entries} | entries
    after = head + "".join(ordered.values())
    if after != before:
        write_text(path, after)
