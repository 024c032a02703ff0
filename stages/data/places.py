"""The places of a data set, and whether DVC sees what changes there."""

from pathlib import Path

from stages.support.errors import PipelineError
from stages.support.params import Source

EMBEDDED = "embedded:digits"
OWN = Path("data/own")  # one's own data sets; fetch depends on its .npz files


def is_own(place: str) -> bool:
    """Returns whether a place is a .npz file in data/own/, where DVC sees changes."""
    path = Path(place)
    return path.suffix == ".npz" and OWN in path.parents and ".." not in path.parts


def check_own(place: str) -> None:
    """Raises `PipelineError` if a place in data/own/ lies behind a link to a folder, which DVC does not follow."""
    if any(OWN in folder.parents and folder.is_symlink() for folder in Path(place).parents):
        raise PipelineError(f"{place}: its folder is a link, where DVC sees no changes; link the file instead")


def unseen(source: Source, used: str) -> list[str]:
    """Returns the places where a change would change the data of this source, and DVC would not see it.

    These are places outside data/own/, up to the one that was used; none if the source's digest is pinned.
    """
    if source.sha256:
        return []
    places = source.places[: source.places.index(used) + 1] if used in source.places else source.places
    return [place for place in places if not is_own(place) and place != EMBEDDED]
