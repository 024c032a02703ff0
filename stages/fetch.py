"""Stage 1: fetches the data set from the first available source in params.yaml.

Writes the archive in a canonical form, and a description: name, places, shapes and digests. The first run decides the
data set. Later runs keep it: if no place has it any more, fetch reads the earlier copy, and takes no other source.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stages.data.archive import Archive, Description, read_archive, write_archive
from stages.data.download import download
from stages.data.earlier import Earlier
from stages.data.folders import read_folder
from stages.data.places import EMBEDDED, OWN, is_own, unseen
from stages.support.errors import PipelineError, command, unreadable
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
NOTICE: changes of {places} are not seen: DVC looks at {own}/ alone, not behind links to folders.
        Move it there, or pin what was read with this line in params.yaml, below "dataset: {dataset}":
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
                archive = place.archive() if isinstance(place, Earlier) else read_place(place, source)
                archive = named(archive, source)
            if source.sha256 not in (None, digest := archive.sha256()):
                raise PipelineError(
                    f"{place}: expected arrays with SHA-256 {source.sha256}, found {digest}; "
                    "the file is damaged, or another data set than data.sources in params.yaml pins"
                )
        except PipelineError as error:
            failures.append(str(error))
            if isinstance(place, str) and is_own(place) and os.path.lexists(place):
                break  # it is there, so it is wanted: nothing stands in for it
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

    The earlier copy comes last in its source.
    """
    for source in sources:
        is_kept = earlier is not None and earlier.is_of(source)
        if source is not sources[0] and earlier and earlier.is_decided and not is_kept:
            continue
        yield from ((source, place) for place in source.places)
        if earlier and is_kept:
            yield source, earlier


def named(archive: Archive, source: Source) -> Archive:
    """Gives the classes the names of params.yaml, if there are any. Raises `PipelineError` if these are not as many."""
    names = tuple(source.class_names or archive.class_names)
    if names and (len(names) != archive.classes or len(set(names)) < len(names)):
        key = f"{PARAMS_PATH}: data.sources: {source.dataset}: class_names"
        raise PipelineError(
            f"{key}: expected {archive.classes} different names, found {len(names)}: {', '.join(names)}"
        )
    return replace(archive, class_names=names)


def read_place(place: str, source: Source) -> Archive:
    """Reads the data set from one place: embedded digits, URL, Keras's cache, path or folder of pictures."""
    if place == EMBEDDED:
        from stages.data.offline import embedded_digits

        return embedded_digits()
    if "://" in place:
        return read_archive(download(place), place, source.first_label)
    with unreadable(place, "a path"):
        path = keras_cache() / place.removeprefix("keras:") if place.startswith("keras:") else Path(place).expanduser()
        if path.is_dir():
            return read_folder(path, source.image, source.test_share)
        if not path.is_file():
            raise PipelineError(f"{path}: no such file")
    return read_archive(path, first_label=source.first_label)


def keras_cache() -> Path:
    """Returns the folder where Keras keeps downloaded data sets: $KERAS_HOME/datasets, by default ~/.keras/datasets."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


@command
def main() -> None:
    """Fetch the data set that params.yaml names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=output_path, help="the .npz file to write")
    parser.add_argument("description", type=output_path, help="the .json file to write")
    arguments = parser.parse_args()
    check_versions("common", "data")

    sources = load_params().data.sources
    archive, source, place = fetch(sources, Earlier(arguments.archive, arguments.description))
    write_archive(arguments.archive, archive)
    # If a digest is pinned, all places of the source have the same arrays: the description does not depend on which
    places = source.places if source.sha256 else place.places if isinstance(place, Earlier) else [place]
    description = Description.of(archive, source.dataset, places)
    description.write(arguments.description)
    height, width, channels = description.image
    counts = f"{len(archive.x_train):,} training and {len(archive.x_test):,} test images"
    size = f"{height} x {width} pixels{' in colour' if channels == 3 else ''}"
    finish(f"{source.dataset}, from {place}\n{counts} of {size}, {archive.classes} classes")
    if place == EMBEDDED and source is not sources[0]:
        print(NOTICE.format(wanted=sources[0].dataset, dataset=source.dataset), file=sys.stderr)
    if places := unseen(source, places[0]):
        pin = {"dataset": source.dataset, "sha256": description.sha256}
        print(UNSEEN.format(places=", ".join(places), own=OWN, **pin), end="", file=sys.stderr)


if __name__ == "__main__":
    main()
