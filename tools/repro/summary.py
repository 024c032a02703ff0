"""Prints what a run changed: one line for each architecture whose results differ from HEAD, then where to look next."""

from stages.support.errors import PipelineError
from tools.common.changes import changes
from tools.common.results import OVERVIEW
from tools.common.revision import WORKSPACE, Revision

BASES = ("origin/main", "main")


def find(name: str) -> Revision | None:
    """Returns the commit of this name, `None` if there is none, or no git."""
    try:
        return Revision.find(name)
    except PipelineError:
        return None


def changed_since_head(confidence: float) -> list[str]:
    """Returns a line for each architecture whose results differ from HEAD, then where to look; none without a commit.

    Differences have intervals of this confidence.
    """
    head = find("HEAD")
    if not head:
        return []
    lines = [change.summary(confidence) for change in changes(head, WORKSPACE) if change.changed]
    base = next(filter(find, BASES), "HEAD")
    return [*(lines or ["same results as in HEAD"]), f"look at {OVERVIEW}; compare: make review BASE={base}"]
