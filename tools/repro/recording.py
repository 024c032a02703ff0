"""Keeps dvc.lock in the order of `dvc repro`."""

from collections.abc import Iterable
from pathlib import Path

from stages.common.files import write_text
from tools.common.lock import LOCK, split


def reorder(names: Iterable[str], path: Path = LOCK) -> None:
    """Puts the entries of these stages, where they are there, into this order, and before others.

    Leaves a dvc.lock that is not as DVC itself writes it as it is.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if not (parts := split(before)):
        return
    head, entries = parts
    ordered = {name: entries[name] for name in names if name in entries} | entries
    after = head + "".join(ordered.values())
    if after != before:
        write_text(path, after)
