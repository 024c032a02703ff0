"""Prints what a run changed: one line for each architecture whose results differ from HEAD, then where to look next."""

from stages.support.errors import PipelineError
from stages.support.params import load_params
from tools.common.changes import Change, changes
from tools.common.results import OVERVIEW
from tools.common.revision import WORKSPACE, Revision

BASES = ("origin/main", "main")


def lines(of_architectures: list[Change], confidence: float) -> list[str]:
    """One line for each architecture that differs."""
    return [change.summary(confidence) for change in of_architectures if change.changed] or ["same results as in HEAD"]


def find(name: str) -> Revision | None:
    """The commit of this name, `None` if there is none, or no git."""
    try:
        return Revision.find(name)
    except PipelineError:
        return None


def changed_since_head() -> list[str]:
    """One line for each architecture whose results differ from HEAD, then where to look; none without a commit."""
    head = find("HEAD")
    if not head:
        return []
    base = next(filter(find, BASES), "HEAD")
    where = f"look at {OVERVIEW}; compare: make review BASE={base}"  # fits 80 columns
    return [*lines(changes(head, WORKSPACE), load_params().overview.confidence), where]
