"""Downloads a file within limits of size and time."""

import io
import time
from http.client import HTTPException

from urllib3.exceptions import HTTPError

from stages.support.errors import PipelineError, one_line

TIMEOUTS = 5, 30  # seconds, to connect and for the next bytes
MAX_SECONDS = 600  # for the content
MAX_BYTES = 2**31  # of the file, after the server's compression is undone
BLOCK = 2**16  # bytes


def download(url: str, tries: int = 2) -> io.BytesIO:
    """Downloads a file over http or https into memory. Tries again if the server fails or the transfer is cut.

    Raises `PipelineError` if that fails, or exceeds a limit.
    """
    import requests

    content, deadline = io.BytesIO(), time.monotonic() + MAX_SECONDS
    try:
        with requests.get(url, stream=True, timeout=TIMEOUTS) as response:
            response.raise_for_status()
            while block := response.raw.read1(BLOCK, decode_content=True):  # returns what has arrived
                content.write(block)
                if content.tell() > MAX_BYTES:
                    raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found more")
                if time.monotonic() > deadline:
                    raise ValueError(f"expected an end within {MAX_SECONDS} seconds, found none")
        return content
    except (OSError, ValueError, HTTPException, HTTPError) as error:
        if tries > 1 and isinstance(error, requests.ConnectionError | requests.HTTPError | HTTPError):
            return download(url, tries - 1)
        cause: BaseException = error
        while isinstance(inner := cause.__cause__ or cause.__context__, BaseException):
            cause = inner
        raise PipelineError(f"{url}: cannot download: {one_line(cause)}") from error
