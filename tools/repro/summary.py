"""Says what a run changed: one line for each architecture whose results differ from HEAD, then where to look next."""

from stages.support.errors import PipelineError, command
from stages.support.params import load_params
from tools.common.changes import Change, changes
from tools.common.results import OVERVIEW
from tools.common.revision import WORKSPACE, Revision

BASES = ("origin/main", "main")


def lines(found: list[Change], confidence: float) -> list[str]:
    """One line for each architecture that differs."""
    return [change.summary(confidence) for change in found if change.changed] or ["same results as in HEAD"]


def find(name: str) -> Revision | None:
    """The commit of this name, `None` if there is none, or no git."""
    try:
        return Revision.find(name)
    except PipelineError:
        return None


@command
def main() -> None:
    """Compares the workspace with HEAD, if there is one."""
    if head := find("HEAD"):
        print(*lines(changes(head, WORKSPACE), load_params().overview.confidence), sep="\n")
        base = next(filter(find, BASES), "HEAD")
        print(f"look at {OVERVIEW}; compare: make review BASE={base}")  # fits 80 columns


if __name__ == "__main__":
    main()
