"""Stage 1: fetches the data set from the first available source in params.yaml.

Writes the archive in a canonical form, and a description: name, places, counts, shapes and digests.
Neither depends on which of several verified places the data came from.

The first run uses the first available source. Later runs keep its data: if they are no longer available,
fetch reuses the earlier copy and does not switch to another source.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np

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
    """Tries each place of each source in order, then the copy that an earlier run fetched from that source.

    Once the pipeline has run, only the first source and that of the earlier run are tried. The earlier copy does not
    stand in for a file in data/own/ that is there but cannot be used.

    Returns the archive, its source and its place. Prints on stderr why earlier places were skipped.
    Raises `PipelineError` with all reasons if no place works; and `MemoryError`, as it is no place's fault.
    """
    failures: list[str] = []
    for index, source in enumerate(sources):
        kept = [earlier] if earlier and earlier.is_of(source) else []
        if index > 0 and earlier and not kept and earlier.exists():
            continue
        if any(is_own(place) and os.path.lexists(place) for place in source.places):
            kept = []
        for place in [*source.places, *kept]:
            try:
                with warnings.catch_warnings(action="ignore"):  # of Python, about the header of a hostile array
                    archive = place.read() if isinstance(place, Earlier) else read_place(place)
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


def read_place(place: str) -> Archive:
    """Reads the archive from one place: embedded digits, URL, Keras cache or path."""
    check_own(place)
    if place == EMBEDDED:
        from stages.data.offline import embedded_digits

        return embedded_digits()
    if "://" in place:
        return _read_url(place)
    try:
        path = keras_cache() / place.removeprefix("keras:") if place.startswith("keras:") else Path(place).expanduser()
        if not path.is_file():
            raise PipelineError(f"{path}: no such file")
    except (OSError, RuntimeError, ValueError) as error:  # no permission; no home folder; not a path
        raise PipelineError(f"{place}: cannot read: {getattr(error, 'strerror', None) or error}") from error
    return read_archive(path)


def _read_url(url: str) -> Archive:
    """Downloads and reads an archive; nothing of it stays on disk."""
    if not url.lower().startswith(("http://", "https://")):
        raise PipelineError(f"{url}: expected an http or https URL, or a path; found {url.partition(':')[0]}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        download(url, path)
        with named(path, url):
            return read_archive(path)


def keras_cache() -> Path:
    """The folder where Keras keeps downloaded data sets: $KERAS_HOME/datasets, by default ~/.keras/datasets."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def check_content(archive: Archive, source: Source, place: str) -> None:
    """Raises `PipelineError` if the arrays do not have the digest that params.yaml pins."""
    found = archive.sha256()
    if source.sha256 not in (None, found):
        raise PipelineError(
            f"{place}: expected arrays with SHA-256 {source.sha256}, found {found}; "
            "the file is damaged, or another data set than data.sources in params.yaml pins"
        )


def describe(archive: Archive, source: Source, place: str | Earlier) -> Description:
    """The description of a fetched archive.

    If a digest is pinned, all places of the source hold the same arrays, so the description lists all of
    them. Otherwise it lists the place the archive came from.
    """
    return Description(
        dataset=source.dataset,
        source=source.places if source.sha256 else [place.place if isinstance(place, Earlier) else place],
        sha256=archive.sha256(),
        classes=archive.classes,
        arrays={name: _describe_array(getattr(archive, name)) for name in MEMBERS},
    )


def _describe_array(array: np.ndarray) -> ArrayDescription:
    digest = hashlib.sha256(np.ascontiguousarray(array).data)
    return ArrayDescription(list(array.shape), str(array.dtype), digest.hexdigest())


@command
def main() -> None:
    """Fetch the data set that params.yaml names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=output_path, help="the .npz file to write")
    parser.add_argument("description", type=output_path, help="the .json file to write")
    arguments = parser.parse_args()
    check_versions("common", "data")

    sources = load_params().data.sources
    earlier = Earlier.find(arguments.archive, arguments.description)
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
