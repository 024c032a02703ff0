"""Errors a user can cause, told in one line, and the exit status that goes with them."""

import errno
import functools
import os
import sys
from collections.abc import Callable

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PipelineError(Exception):
    """An anticipated error: names the key, file or URL, what was expected and found, what to do.

    The text is shown to the user without a traceback, in one line: what does not print, as in the names that a foreign
    file holds, is escaped. Anything that is not a `PipelineError` is a fault of ours and keeps its traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def one_line(error: BaseException | str) -> str:
    """What an error says, in one line; its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a command's `main`: an anticipated error becomes one line on stderr and exit status 1.

    Anticipated are a `PipelineError`, a full disk wherever it shows, Ctrl-C (exit status 130), and a reader of what is
    printed that goes away, such as `head` (141, as a shell has it).
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again as it ends
            sys.exit(141)
        except PipelineError as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            where = error.filename or "a temporary file"
            sys.exit(f"error: {where}: cannot write: {error.strerror}; make room and run again")
        except KeyboardInterrupt:
            print("interrupted; run again to go on", file=sys.stderr)
            sys.exit(130)

    return run
