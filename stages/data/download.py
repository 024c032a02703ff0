"""Downloads a file within limits of size and time."""

import http.client
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from urllib3.exceptions import HTTPError

from stages.support.errors import NO_ROOM, PipelineError, one_line

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds, for the next bytes
MAX_SECONDS = 600  # for the whole download
MAX_BYTES = 2**31  # of the file, after the server's compression is undone
MAX_REDIRECTS = 5
BLOCK = 2**16  # bytes


def download(url: str, path: Path) -> None:
    """Downloads a file over http or https; one that the server fails to send is asked for twice.

    Raises `PipelineError` if that fails, or exceeds a limit; and `OSError` if the disk is full.
    """
    done: Future[None] = Future()
    deadline = time.monotonic() + MAX_SECONDS

    def work() -> None:
        try:
            _download(url, path, deadline)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    # A thread, as no library limits the time of a whole request: a server may send its headers byte by byte
    threading.Thread(target=work, daemon=True).start()
    try:
        done.result(timeout=MAX_SECONDS + 1)
    except (OSError, ValueError, http.client.HTTPException, HTTPError) as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise  # the disk's fault, not the place's: another place must not serve in its stead
        reason = _too_slow() if isinstance(error, TimeoutError) and not done.done() else _cause(error)
        raise PipelineError(f"{url}: cannot download: {reason}") from error


def _download(url: str, path: Path, deadline: float) -> None:
    import requests
    from urllib3.util import Retry

    retry = Retry(1, redirect=False, status_forcelist=(500, 502, 503, 504), raise_on_status=False)
    with requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        for is_last in (False, True):
            try:
                with session.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
                    response.raise_for_status()
                    _save(response, path, deadline)
                return
            except (requests.ConnectionError, HTTPError):  # cut short
                if is_last:
                    raise


def _save(response: "requests.Response", path: Path, deadline: float) -> None:
    size, total = 0, int(response.headers.get("Content-Length", 0)) or None
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with (
        path.open("wb") as stream,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task(path.name, total=total)
        while block := response.raw.read1(BLOCK, decode_content=True):  # what is there: waits for no whole block
            size += len(block)
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found more")
            if time.monotonic() > deadline:
                raise ValueError(_too_slow())
            stream.write(block)
            progress.update(task, completed=size)


def _too_slow() -> str:
    return f"expected an end within {MAX_SECONDS} seconds, found none"


def _cause(error: BaseException) -> str:
    """The innermost cause in a chain of network errors, in one line."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    return one_line(error)
