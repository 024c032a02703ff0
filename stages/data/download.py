"""Downloads a file within limits of size and time."""

import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from urllib3.exceptions import HTTPError

from stages.support.errors import NO_ROOM, PipelineError, one_line

if TYPE_CHECKING:
    import requests

TIMEOUTS = 5, 30  # seconds, to connect and for the next bytes
MAX_SECONDS = 600  # for the content
MAX_BYTES = 2**31  # of the file, after the server's compression is undone
BLOCK = 2**16  # bytes


def download(url: str, path: Path) -> None:
    """Downloads a file over http or https. Asks a second time if the server fails or the transfer is cut.

    Raises `PipelineError` if that fails, or exceeds a limit; and `OSError` if the disk is full.
    """
    import requests

    for is_last in (False, True):
        try:
            with requests.get(url, stream=True, timeout=TIMEOUTS) as response:
                response.raise_for_status()
                _save(response, path)
            return
        except (OSError, ValueError, HTTPException, HTTPError) as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise  # the disk's fault, not the place's: another place must not serve in its stead
            if is_last or not isinstance(error, requests.ConnectionError | requests.HTTPError | HTTPError):
                raise PipelineError(f"{url}: cannot download: {_cause(error)}") from error


def _save(response: "requests.Response", path: Path) -> None:
    size, total = 0, int(response.headers.get("Content-Length", 0)) or None
    deadline = time.monotonic() + MAX_SECONDS
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with (
        path.open("wb") as stream,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task(path.name, total=total)
        while block := response.raw.read1(
            BLOCK, decode_content=True
        ):  # returns what is there: waits for no whole block
            size += len(block)
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found more")
            if time.monotonic() > deadline:
                raise ValueError(f"expected an end within {MAX_SECONDS} seconds, found none")
            stream.write(block)
            progress.update(task, completed=size)


def _cause(error: BaseException) -> str:
    """The innermost cause in a chain of network errors, in one line."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    return one_line(error)
