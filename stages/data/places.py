"""The places of a data set, and whether DVC sees what changes there."""

import os
from pathlib import Path

from stages.support.params import Source

EMBEDDED = "embedded:digits"
OWN = Path("data/own")  # one's own data sets; fetch depends on its .npz files and pictures


def is_own(place: str) -> bool:
    """Returns whether a place is a .npz file or a folder in data/own/, where DVC sees changes.

    DVC follows no link to a folder.
    """
    path = Path(place)
    folders = path.parents if path.suffix == ".npz" else [path, *path.parents]
    behind_link = any(OWN in folder.parents and folder.is_symlink() for folder in folders)
    is_seen = path.suffix in (".npz", "") or os.path.isdir(path)  # noqa: PTH112  never raises an error
    return is_seen and OWN in path.parents and ".." not in path.parts and not behind_link


def unseen(source: Source, used: str) -> list[str]:
    """Returns the places where a change would change the data of this source, and DVC would not see it.

    These are places outside data/own/, up to the one that was used; none if the source's digest is pinned.
    """
    if source.sha256:
        return []
    places = source.places[: source.places.index(used) + 1] if used in source.places else source.places
    return [place for place in places if not is_own(place) and place != EMBEDDED]
