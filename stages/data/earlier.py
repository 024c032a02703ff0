"""The data set of an earlier run, used when it is no longer available elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from stages.data.archive import Archive, Description, read_archive
from stages.support.dvc_cache import Cache, recorded
from stages.support.errors import PipelineError
from stages.support.params import Source

LEFT_BY_A_RUN = Path("data/prepared"), Path("data/models")  # ignored by git, so missing in a fresh clone


@dataclass(frozen=True)
class Earlier:
    """The outputs of the last fetch: the archive, and its description (`None` if it is missing or damaged)."""

    path: Path
    description: Description | None

    @classmethod
    def find(cls, archive: Path, description: Path) -> "Earlier":
        """Reads these outputs of fetch, before fetch overwrites them."""
        try:
            return cls(archive, Description.parse(description.read_bytes(), str(description)))
        except (OSError, PipelineError):
            return cls(archive, None)

    def __str__(self) -> str:
        return "an earlier run"

    def exists(self) -> bool:
        """Whether the pipeline has run here: the archive, or what later stages make of it, exists."""
        return any(path.exists() for path in chain(LEFT_BY_A_RUN, self._copies()))

    @property
    def place(self) -> str | None:
        """The place it came from, or the first of several with the same arrays."""
        return self.description.source[0] if self.description and self.description.source else None

    def is_of(self, source: Source) -> bool:
        """Whether it came from this source: its arrays are the pinned ones, or its place is one of the source's."""
        if not self.description:
            return source.sha256 is not None
        same = self.description.sha256 == source.sha256 if source.sha256 else self.place in source.places
        return self.description.dataset == source.dataset and same

    def read(self) -> Archive:
        """Reads it from the workspace or DVC's cache. Raises `PipelineError` if it is missing or damaged."""
        reasons = []
        for path in self._copies():
            try:
                archive = read_archive(path)
            except PipelineError as error:
                reasons.append(str(error))
                continue
            if not self.description or self.description.sha256 == archive.sha256():
                return archive
            reasons.append(f"{path}: not the data that the last run fetched")
        gone = f"{self.path}: no copy in the workspace or DVC's cache"
        raise PipelineError("; ".join(reasons) or gone)

    def _copies(self) -> Iterator[Path]:
        """Yields the paths of its copies: in the workspace, and in DVC's cache."""
        if self.path.exists():
            yield self.path
        if (md5 := recorded(self.path)) and (cached := Cache().path(md5)).exists():
            yield cached
