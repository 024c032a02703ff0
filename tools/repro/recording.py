"""Keeps dvc.lock in the order of `dvc repro`."""

import contextlib
from collections.abc import Iterator

from stages.common.files import write_text
from tools.common.lock import read_lock, split
from tools.repro.plan import Plan


@contextlib.contextmanager
def in_order(plan: Plan) -> Iterator[None]:
    """Puts the entries that are new in a dvc.lock into the order in which `dvc repro` would have written them.

    Leaves a dvc.lock that is not as DVC itself writes it as it is.
    """
    before = {path: list(read_lock(path)) for path in plan.recorded}
    try:
        yield
    finally:
        for path, names in plan.recorded.items():
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            if parts := split(text):
                head, entries = parts
                order = [name for name in dict.fromkeys([*before[path], *names, *entries]) if name in entries]
                ordered = head + "".join(map(entries.__getitem__, order))
                if ordered != text:
                    write_text(path, ordered)
