"""Errors a user can cause, told in one line, and the exit status that goes with them."""

import functools
import sys
from collections.abc import Callable


class PipelineError(Exception):
    """An anticipated error: names the key, file or URL, what was expected and found, what to do.

    The text is shown to the user as it stands, without a traceback. Anything that is not a
    `PipelineError` is a fault of ours and keeps its traceback.
    """


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a command's `main`: a `PipelineError` becomes one line on stderr and exit status 1."""

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except PipelineError as error:
            sys.exit(f"error: {error}")

    return run
