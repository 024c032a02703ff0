"""Lists the places of the data set whose changes DVC or a review cannot see."""

from stages.data.places import OWN, is_own, unseen
from stages.support.errors import PipelineError, printable
from stages.support.params import PARAMS_PATH, Data, Source
from tools.common.results import DESCRIPTION
from tools.common.revision import NO_FILES, Revision


def unseen_by_dvc(revision: Revision) -> list[str]:
    """Lists the places where a change would not make fetch run again."""
    source, used = _used(revision)
    hint = f"it has no sha256 in {PARAMS_PATH}; to read it again, run: dvc repro --force fetch"
    return [printable(f"not looked at: {place}: {hint}") for place in (unseen(source, used) if source else ())]


def unseen_by_review(revision: Revision) -> list[str]:
    """Lists the places that a review cannot compare with dvc.lock."""
    source, used = _used(revision)
    without = own_is_missing(revision) if source and is_own(used) and not source.sha256 else ""
    return [*unseen_by_dvc(revision), *([f"not looked at: {used}: {without}"] if without else [])]


def own_is_missing(revision: Revision) -> str:
    """Returns why the files in data/own/ are not compared with dvc.lock; empty if they are."""
    try:
        return f"not in {revision}" if revision.digest(str(OWN)) == NO_FILES else ""
    except PipelineError as error:
        return str(error)


def _used(revision: Revision) -> tuple[Source | None, str]:
    """Reads the source whose data a revision records, and the place that they came from; `None` if it records none."""
    try:
        description = revision.read_json(DESCRIPTION)
        name, used = description["dataset"], description["source"][0]
        sources = revision.section("data", Data).sources
        return next(source for source in sources if source.dataset == name and used in source.places), used
    except (PipelineError, LookupError, TypeError, StopIteration):
        return None, ""
