"""Stage 1: brings the data set, from the first source in params.yaml that serves it.

Writes the archive canonically, and a description of it: data set, where it may be had, counts,
shapes, digests. Nothing in either depends on which of several verified places served.

A first run takes the first source that serves. A later run keeps to its data: where no place serves them
any more, they stay as they are, and no other source takes their place.
"""

import argparse
import hashlib
import http.client
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from stages.common.arrays import MEMBERS, Archive, read_archive, write_archive
from stages.common.earlier import Earlier
from stages.common.errors import NO_ROOM, PipelineError, command, one_line
from stages.common.files import write_json
from stages.common.params import PARAMS_PATH, Source, load_params
from stages.common.versions import check_versions

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds
RETRIES = 1
EMBEDDED = "embedded:digits"

NOTICE = """\
NOTICE: this is NOT {wanted}. No place that holds it could be reached, so the offline default serves:
        {dataset}. Every metric, picture and report says so.
        Later, when it can be reached:  dvc repro --force fetch  and then  dvc repro
"""


def fetch(sources: list[Source], earlier: Earlier | None = None) -> tuple[Archive, Source, str | Earlier]:
    """Tries each place of each source in order, and last what an earlier run fetched from the same source.

    Once anything has run, only the first source and the earlier run's are tried.

    Returns the archive, its source and the place that served. Tells on stderr why the places
    before it did not. Raises `PipelineError` with all the reasons if none did.
    """
    failures: list[str] = []
    for index, source in enumerate(sources):
        kept = [earlier] if earlier and earlier.is_of(source) else []
        if index > 0 and earlier and not kept and earlier.exists():
            continue
        for place in [*source.places, *kept]:
            try:
                archive = place.read() if isinstance(place, Earlier) else read_place(place)
                check_content(archive, source, str(place))
            except PipelineError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                print(f"not served: {failure}", file=sys.stderr)
            return archive, source, place
    others = f" ({sources[1].dataset}: for a first run only, unless put first in data.sources)" if sources[1:] else ""
    raise PipelineError(
        f"{PARAMS_PATH}: data.sources: no place served the data set ({'; '.join(failures)}); "
        f"put the file at one of these places, or name another place{others}"
    )


def read_place(place: str) -> Archive:
    """Reads the archive at one place: the embedded digits, a URL, the Keras cache or a path."""
    if place == EMBEDDED:
        from stages.common.offline import embedded_digits

        return embedded_digits()
    if place.lower().startswith(("http://", "https://")):
        return download(place)
    try:
        path = keras_cache() / place.removeprefix("keras:") if place.startswith("keras:") else Path(place).expanduser()
        if not path.is_file():
            raise PipelineError(f"{path}: no such file")
    except (OSError, RuntimeError, ValueError) as error:  # no permission; no home; no path at all
        raise PipelineError(f"{place}: cannot read: {getattr(error, 'strerror', None) or error}") from error
    return read_archive(path)


def keras_cache() -> Path:
    """Where Keras keeps the data sets it downloads: $KERAS_HOME/datasets, by default under ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def download(url: str) -> Archive:
    """Downloads and reads an archive; nothing of it stays on disk."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
    with tempfile.TemporaryDirectory() as folder:
        registry = pooch.create(
            folder, base_url="", urls={"file": url}, registry={"file": None}, retry_if_failed=RETRIES
        )
        try:
            path = registry.fetch("file", downloader=downloader)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise  # the disk's fault, not the place's: another place must not serve in its stead
            raise PipelineError(f"{url}: cannot download: {_cause(error)}") from error
        try:
            return read_archive(Path(path))
        except PipelineError as error:
            raise PipelineError(str(error).replace(str(path), url)) from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a chain of network errors, in one line."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    return one_line(error)


def check_content(archive: Archive, source: Source, place: str) -> None:
    """Raises `PipelineError` if the arrays are not those that params.yaml pins."""
    found = archive.sha256()
    if source.sha256 not in (None, found):
        raise PipelineError(
            f"{place}: expected arrays with the digest {source.sha256}, found {found}; "
            "another data set, or a damaged one (data.sources in params.yaml pins it)"
        )


def describe(archive: Archive, source: Source, place: str | Earlier) -> dict[str, Any]:
    """The description of a fetched archive.

    Under a pinned digest all the source's places hold the same arrays, so it names all of them;
    without one it names the place that served.
    """
    return {
        "dataset": source.dataset,
        "source": source.places if source.sha256 else [place.place if isinstance(place, Earlier) else place],
        "sha256": archive.sha256(),
        "classes": archive.classes,
        "arrays": {
            name: {
                "shape": list(getattr(archive, name).shape),
                "dtype": str(getattr(archive, name).dtype),
                "sha256": hashlib.sha256(getattr(archive, name).tobytes()).hexdigest(),
            }
            for name in MEMBERS
        },
    }


@command
def main() -> None:
    """Fetches the data set that params.yaml names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=Path, help="the .npz to write")
    parser.add_argument("description", type=Path, help="the .json to write")
    arguments = parser.parse_args()
    check_versions("numpy", "pictures", "tables")

    sources = load_params().data.sources
    earlier = Earlier.find(arguments.archive, arguments.description)
    archive, source, place = fetch(sources, earlier)
    write_archive(arguments.archive, archive)
    write_json(arguments.description, describe(archive, source, place))
    print(f"{source.dataset}, from {place}\n{archive.summary()}")
    if place == EMBEDDED and source is not sources[0]:
        print(NOTICE.format(wanted=sources[0].dataset, dataset=source.dataset), file=sys.stderr)


if __name__ == "__main__":
    main()
