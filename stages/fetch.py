"""Stage 1: fetches the data set from the first available source in params.yaml.

Writes the archive in a canonical form, and a description: name, places, counts, shapes and digests. Neither depends on
which of several verified places the data came from.

The first run uses the first available source and records it in the description. Later runs keep that data set: if no
place serves it any more, fetch reads the earlier copy and does not switch to another source.
"""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from stages.common.files import write_json
from stages.data.archive import MEMBERS, Archive, ArrayDescription, Description, read_archive, write_archive
from stages.data.download import download
from stages.data.earlier import Earlier
from stages.data.places import EMBEDDED, OWN, check_own, is_own, unseen
from stages.support.errors import PipelineError, command, named
from stages.support.params import PARAMS_PATH, Source, load_params
from stages.support.paths import output_path
from stages.support.progress import finish
from stages.support.versions import check_versions

NOTICE = """\
NOTICE: this is NOT {wanted}. It could not be reached, so the pipeline uses {dataset} instead.
        Every metrics file, picture and report says so.
        Once {wanted} can be reached, run:  dvc repro --force fetch  and then  dvc repro
"""
UNSEEN = """\
NOTICE: changes of {places} are not seen: DVC looks at .npz files in {own}/, and elsewhere at none.
        Move the file there, or pin what was read with this line in params.yaml, below "dataset: {dataset}":
sha256: "{sha256}"
"""


def fetch(sources: list[Source], earlier: Earlier | None = None) -> tuple[Archive, Source, str | Earlier]:
    """Tries each place in order, and returns the archive of the first that works, its source and its place.

    Prints on stderr why earlier places were skipped. Raises `PipelineError` with all reasons if no place works; and
    `MemoryError`, as it is no place's fault.
    """
    failures: list[str] = []
    for source, place in _places(sources, earlier):
        try:
            with warnings.catch_warnings(action="ignore"):  # of Python, about the header of a hostile array
                archive = place.archive() if isinstance(place, Earlier) else read_place(place)
            check_content(archive, source, str(place))
        except PipelineError as error:
            failures.append(str(error))
            continue
        for failure in failures:
            print(f"skipped: {failure}", file=sys.stderr)
        return archive, source, place
    others = f" ({sources[1].dataset}: used in a first run only; to use it now, list it first)" if sources[1:] else ""
    raise PipelineError(
        f"{PARAMS_PATH}: data.sources: could not get the data set ({'; '.join(failures)}); "
        f"put the file at one of these places, or add another{others}"
    )


def _places(sources: list[Source], earlier: Earlier | None) -> Iterator[tuple[Source, str | Earlier]]:
    """Yields each place with its source. After a first run, only the first source and that of the first run count.

    The earlier copy comes last in its source. It does not stand in for a file in data/own/ that is there but damaged.
    """
    for source in sources:
        is_kept = earlier is not None and earlier.is_of(source)
        if source is not sources[0] and earlier and not is_kept and earlier.exists():
            continue
        yield from ((source, place) for place in source.places)
        if earlier and is_kept and not any(is_own(place) and os.path.lexists(place) for place in source.places):
            yield source, earlier


def read_place(place: str) -> Archive:
    """Reads the archive from one place: embedded digits, URL, Keras's cache or path. No download stays on disk."""
    check_own(place)
    if place == EMBEDDED:
        from stages.data.offline import embedded_digits

        return embedded_digits()
    if "://" in place:
        if not place.lower().startswith(("http://", "https://")):
            scheme = place.partition(":")[0]
            raise PipelineError(f"{place}: expected an http or https URL, or a path; found {scheme}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "data.npz")
            download(place, path)
            with named(path, place):
                return read_archive(path)
    try:
        path = keras_cache() / place.removeprefix("keras:") if place.startswith("keras:") else Path(place).expanduser()
        if not path.is_file():
            raise PipelineError(f"{path}: no such file")
    except (OSError, RuntimeError, ValueError) as error:  # no permission; no home folder; not a path
        raise PipelineError(f"{place}: cannot read: {getattr(error, 'strerror', None) or error}") from error
    return read_archive(path)


def keras_cache() -> Path:
    """Returns the folder where Keras keeps downloaded data sets: $KERAS_HOME/datasets, by default ~/.keras/datasets."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def check_content(archive: Archive, source: Source, place: str) -> None:
    """Raises `PipelineError` if the arrays do not have the digest that params.yaml pins."""
    digest = archive.sha256()
    if source.sha256 not in (None, digest):
        raise PipelineError(
            f"{place}: expected arrays with SHA-256 {source.sha256}, found {digest}; "
            "the file is damaged, or another data set than data.sources in params.yaml pins"
        )


def describe(archive: Archive, source: Source, place: str | Earlier) -> Description:
    """Describes a fetched archive.

    If a digest is pinned, all places of the source hold the same arrays, so the description lists all of them.
    Otherwise it lists the place the archive came from.
    """
    places = source.places
    if not source.sha256:
        places = place.places if isinstance(place, Earlier) else [place]
    arrays = {name: ArrayDescription.of(getattr(archive, name)) for name in MEMBERS}
    return Description(source.dataset, places, archive.sha256(), archive.classes, arrays)


@command
def main() -> None:
    """Fetch the data set that params.yaml names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=output_path, help="the .npz file to write")
    parser.add_argument("description", type=output_path, help="the .json file to write")
    arguments = parser.parse_args()
    check_versions("common", "data")

    sources = load_params().data.sources
    earlier = Earlier.read(arguments.archive, arguments.description)
    archive, source, place = fetch(sources, earlier)
    write_archive(arguments.archive, archive)
    description = describe(archive, source, place)
    write_json(arguments.description, asdict(description))
    finish(f"{source.dataset}, from {place}\n{archive.summary()}")
    if place == EMBEDDED and source is not sources[0]:
        print(NOTICE.format(wanted=sources[0].dataset, dataset=source.dataset), file=sys.stderr)
    if places := unseen(source, description.source[0]):
        pin = {"dataset": source.dataset, "sha256": description.sha256}
        print(UNSEEN.format(places=", ".join(places), own=OWN, **pin), end="", file=sys.stderr)


if __name__ == "__main__":
    main()
