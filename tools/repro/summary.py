"""Says what a run changed: one line for each architecture whose results differ from HEAD, then where to look next."""

from stages.common.errors import PipelineError, command
from stages.common.params import load_params
from tools.common.changes import Change, changes
from tools.common.results import OVERVIEW
from tools.common.revision import WORKSPACE, Revision

BASES = ("origin/main", "main")


def lines(found: list[Change], confidence: float) -> list[str]:
    """One line for each architecture that differs."""
    return [_summary(change, confidence) for change in found if change.changed] or ["same results as in HEAD"]


def _summary(change: Change, confidence: float) -> str:
    if change.note:
        return f"{change.name}: {change.note}"
    accuracies = f"{100 * change.base.accuracy:.2f} % → {100 * change.head.accuracy:.2f} %"
    counts = f"fixed {len(change.fixed)}, broke {len(change.broke)}"
    return f"{change.name}: {accuracies}, {counts}, {change.verdict(confidence)}"


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
        print(f"look at {OVERVIEW}; compare with {base}: make review BASE={base}")


if __name__ == "__main__":
    main()
