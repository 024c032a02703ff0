"""Lists the places of the data set that nothing compares with the recorded results: DVC or git does not have them."""

from collections.abc import Iterator

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
    return [*unseen_by_dvc(revision), *_own(revision)]


def _own(revision: Revision) -> Iterator[str]:
    source, used = _used(revision)
    if source and is_own(used) and not source.sha256:
        try:
            if revision.digest(str(OWN)) == NO_FILES:
                yield f"not looked at: {used}: not in {revision}"
        except PipelineError as error:
            yield f"not looked at: {error}"


def _used(revision: Revision) -> tuple[Source | None, str]:
    """Reads the source whose data a revision records, and the place that they came from; `None` if it records none."""
    try:
        description = revision.read_json(DESCRIPTION)
        sources = Data.model_validate(revision.params()["data"]).sources
        name, used = description["dataset"], description["source"][0]
        return next(source for source in sources if source.dataset == name and used in source.places), used
    except (PipelineError, LookupError, TypeError, ValueError, StopIteration):
        return None, ""
