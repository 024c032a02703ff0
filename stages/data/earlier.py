"""The data set of the last run, which is kept if no place has it any more."""

import contextlib
from pathlib import Path

from stages.data.archive import Archive, Description, read_archive
from stages.support.dvc_cache import Cache, recorded
from stages.support.errors import PipelineError
from stages.support.params import Source

PREPARED = Path("data/prepared")  # of a later stage; git ignores it, so a fresh clone has none


class Earlier:
    """What the last fetch wrote: copies of the archive, here and in DVC's cache, and the description, if intact."""

    def __init__(self, archive: Path, description: Path) -> None:
        self.path = archive
        cached = [Cache().path(md5)] if (md5 := recorded(archive)) else []
        self.copies = [path for path in (archive, *cached) if path.exists()]
        self.is_decided = bool(self.copies) or PREPARED.exists()  # the pipeline has run here
        self.description: Description | None = None
        with contextlib.suppress(OSError, PipelineError):
            self.description = Description.parse(description.read_bytes(), str(description))
        self.places = self.description.source if self.description else []

    def __str__(self) -> str:
        return "an earlier run"

    def is_of(self, source: Source) -> bool:
        """Returns whether a source is the one of the last run: its arrays are pinned, or its place was used."""
        if not self.description:
            return source.sha256 is not None  # by which a copy is checked
        if source.sha256:
            return (self.description.dataset, self.description.sha256) == (source.dataset, source.sha256)
        return self.description.dataset == source.dataset and self.places[0] in source.places

    def archive(self) -> Archive:
        """Reads the first intact copy. Raises `PipelineError` if there is none."""
        for path in self.copies:
            with contextlib.suppress(PipelineError):
                archive = read_archive(path)
                if not self.description or self.description.sha256 == archive.sha256():
                    return archive
        raise PipelineError(f"{self.path}: no intact copy in the workspace or DVC's cache")
