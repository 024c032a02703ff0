"""Reads what `make reproduce` found out about a commit."""

import json
from pathlib import Path

from stages.common.errors import PipelineError
from tools.common.results import REPRODUCED
from tools.common.revision import Revision


def read_reproduced(head: Revision, path: Path = REPRODUCED) -> dict[str, str]:
    """Says, for each architecture that was run again, what differs from its recorded results; "" if nothing does.

    Returns {} if there is no such file, or if it is about another commit.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        results = {str(name): str(differs) for name, differs in found["results"].items()}
        return results if found["commit"] == head.commit else {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PipelineError(f"{path}: expected what make reproduce writes ({error!r}); delete it") from error
