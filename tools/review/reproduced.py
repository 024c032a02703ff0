"""What `make reproduce` found of a commit."""

import json
from pathlib import Path

from stages.common.errors import PipelineError
from tools.common.results import REPRODUCED
from tools.common.revision import Revision


def read_reproduced(head: Revision, path: Path = REPRODUCED) -> dict[str, str]:
    """By architecture that was run again: what differs from what is recorded, empty if nothing does.

    Nothing is known where there is no such file, or it is of another commit.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        results = {str(name): str(differs) for name, differs in found["results"].items()}
        return results if found["commit"] == head.commit else {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PipelineError(f"{path}: expected what make reproduce writes ({error!r}); delete it") from error
