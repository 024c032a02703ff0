"""The data set of an earlier run, which is kept where no place serves it any more."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.data.archive import Archive, Description, read_archive
from stages.support.dvc_cache import Cache, recorded
from stages.support.errors import PipelineError
from stages.support.params import Source

PREPARED = Path("data/prepared")  # of a later stage; git ignores it, so a fresh clone has none


@dataclass(frozen=True)
class Earlier:
    """The outputs of the last fetch: the archive, and its description (`None` if it is missing or damaged)."""

    path: Path
    description: Description | None

    @classmethod
    def read(cls, archive: Path, description: Path) -> "Earlier":
        """Reads the description of the last fetch, before fetch overwrites it."""
        try:
            return cls(archive, Description.parse(description.read_bytes(), str(description)))
        except (OSError, PipelineError):
            return cls(archive, None)

    def __str__(self) -> str:
        return "an earlier run"

    @property
    def places(self) -> list[str]:
        """The places that the last fetch recorded; none if its description is missing."""
        return self.description.source if self.description else []

    def exists(self) -> bool:
        """Whether the pipeline has run here, so that the data set is decided."""
        return PREPARED.exists() or any(self._copies())

    def is_of(self, source: Source) -> bool:
        """Whether it came from this source: its arrays are the pinned ones, or its place is one of the source's."""
        if not self.description:
            return source.sha256 is not None  # by which a copy is checked
        if source.sha256:
            return (self.description.dataset, self.description.sha256) == (source.dataset, source.sha256)
        return self.description.dataset == source.dataset and self.description.source[0] in source.places

    def archive(self) -> Archive:
        """Reads the archive from the workspace or DVC's cache. Raises `PipelineError` if no copy is intact."""
        for path in self._copies():
            with contextlib.suppress(PipelineError):
                archive = read_archive(path)
                if not self.description or self.description.sha256 == archive.sha256():
                    return archive
        raise PipelineError(f"{self.path}: no intact copy in the workspace or DVC's cache")

    def _copies(self) -> Iterator[Path]:
        if self.path.exists():
            yield self.path
        if (md5 := recorded(self.path)) and (cached := Cache().path(md5)).exists():
            yield cached
