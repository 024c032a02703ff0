"""Writes dvc.lock, as DVC does, but faster."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc.utils.serialize import dumps_yaml, modify_yaml

from stages.common.files import write_text
from stages.common.yaml import parse_yaml
from tools.common.lock import LOCK

# As DVC writes it anew: its version, then one block an entry. Comments, other sections and longer names are not simple.
SIMPLE = re.compile(r"schema: '2\.0'\nstages:\n(?:  [\w@.-]+:\n(?:    .*\n)+)*")


@contextlib.contextmanager
def modify_lock(path: str, **options: Any) -> Iterator[dict[str, Any]]:
    """Yields a dvc.lock's content; writes the entries that were replaced or added, and leaves the rest as it stands.

    For DVC's own `modify_yaml`, which parses and writes anew all entries, in pure Python, whenever a stage has run.
    DVC's own it is for other files, and for a dvc.lock that is not as DVC itself writes it.
    """
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.suffix == LOCK.suffix and file.exists() else ""
    if not SIMPLE.fullmatch(text):
        with modify_yaml(path, **options) as content:
            yield content
        return
    content = parse_yaml(text.encode(), path)
    before = dict(content["stages"] or {})
    yield content
    replaced = {name: entry for name, entry in content["stages"].items() if entry is not before.get(name)}
    head, entries = _split(dumps_yaml({**content, "stages": replaced}))
    write_text(file, head + "".join((_split(text)[1] | entries).values()))


def reorder(names: Iterable[str], path: Path = LOCK) -> None:
    """Puts the entries of these stages, where they are there, into this order, and before others.

    Leaves a dvc.lock that is not as DVC itself writes it as it is.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if SIMPLE.fullmatch(before):
        head, entries = _split(before)
        ordered = {name: entries[name] for name in names if name in entries} | entries
        after = head + "".join(ordered.values())
        if after != before:
            write_text(path, after)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first entry, and the text of each stage's entry."""
    head, *entries = re.split(r"^(?=  \S)", text, flags=re.MULTILINE)
    return head, {entry.partition("\n")[0].strip(" :"): entry for entry in entries}
