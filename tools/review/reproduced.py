"""Reads the outcome of `make reproduce`."""

from dataclasses import dataclass
from pathlib import Path

from stages.common.files import read_bytes
from stages.support.errors import with_hint
from stages.support.json import read_as
from tools.common.results import REPRODUCED
from tools.common.revision import Revision


@dataclass
class _Reproduced:
    commit: str
    results: dict[str, str]


def read_reproduced(head: Revision, path: Path = REPRODUCED) -> dict[str, str]:
    """Returns, for each architecture that was run again, what differs from its recorded results; "" if nothing does.

    Returns {} if there is no such file, or if it is about another commit.
    """
    if not path.is_file():
        return {}
    with with_hint(lambda: "delete it"):
        outcome = read_as(_Reproduced, read_bytes(path), str(path))
    return outcome.results if outcome.commit == head.commit else {}
