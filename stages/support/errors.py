"""One-line messages for errors that a user can cause, and their exit status."""

import contextlib
import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.support.processes import DVC_STAGE, end_with_dvc, prepare_process

MAX_REASON = 200  # characters
CUSTOM = "stages/models/custom.py"  # the layers, losses and schedules that people write
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


class PipelineError(Exception):
    """An anticipated error. The text names the key, file or URL, what was expected and found, and what to do.

    It is printed in one line, without a traceback; unprintable characters, such as those in names from other people's
    files, are escaped. Any other exception is a bug and keeps its traceback. `hint` says what to do, unless the text
    does; it is put behind a semicolon.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(printable(f"{text}; {hint}" if hint else text))


def printable(text: str) -> str:
    """Returns the text with unprintable characters escaped, such as those that colour a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(error: BaseException | str) -> str:
    """Returns an error's message in one line of at most `MAX_REASON` characters, or else the name of its class."""
    return " ".join(str(error).split())[:MAX_REASON] or type(error).__name__


@contextlib.contextmanager
def unreadable(where: str | Path, expected: str) -> Iterator[None]:
    """Turns what libraries raise for a file that is missing or damaged, of a dozen classes, into a `PipelineError`.

    It names where the file is, what was `expected` and the reason. A `PipelineError` passes, and so does too little
    memory, which is not the file's fault.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PipelineError) or _is_out_of_memory(error):
            raise
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = f"cannot read: {strerror}" if strerror else f"not {expected}: {one_line(error)}"
        raise PipelineError(f"{where}: {reason}") from error


@contextlib.contextmanager
def with_hint(hint: Callable[[], str]) -> Iterator[None]:
    """Adds what to do to the message of a `PipelineError`. `hint` is called only then, and may take a second."""
    try:
        yield
    except PipelineError as error:
        raise PipelineError(str(error), hint()) from error


@contextlib.contextmanager
def named(temporary: Path, name: str) -> Iterator[None]:
    """Puts `name` in place of a temporary path in a `PipelineError`, as the path is gone when the user reads it."""
    try:
        yield
    except PipelineError as error:
        raise PipelineError(str(error).replace(str(temporary), name)) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Returns whether Python, NumPy or TensorFlow found too little memory, or no room to load a library."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's
        or (isinstance(error, ImportError) and "failed to map segment" in str(error))
    )


def anticipated(error: BaseException) -> str | None:
    """Returns the line to print for an anticipated error; `None` if it is a bug, which keeps its traceback.

    Anticipated are `PipelineError`, a full disk, a file or folder that may not be used, a folder in place of a file,
    too little memory, and what the code in `CUSTOM` raises.
    """
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        where = error.filename or "a temporary file"
        return f"{where}: cannot write: {error.strerror}; free some space and rerun"
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and error.filename:
        return f"{error.filename}: {error.strerror}; change who may write there, and rerun"
    if isinstance(error, IsADirectoryError) and error.filename:
        return f"{error.filename}: expected a file, found a folder; move it away and rerun"
    if isinstance(error, Exception) and _is_out_of_memory(error):
        return f"not enough memory: {one_line(error)}; close other programs, or make batches or layers smaller"
    if where := in_custom(error):
        return f"{where}: {type(error).__name__}: {one_line(error)}"
    return None


def in_custom(error: BaseException) -> str:
    """Returns the line of `CUSTOM` in which an error was raised, as `FILE, line N`; "" if it was raised elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename.endswith(CUSTOM)]
    return f"{CUSTOM}, line {lines[-1]}" if lines else ""


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a command's `main`: prints an anticipated error as one line on stderr and exits with status 1.

    Ctrl-C exits with 130, and a closed pipe, as behind `head`, with 141, as in a shell. Every command runs in the
    project's folder. A stage ends with the DVC that runs it.
    """

    @functools.wraps(main)
    def run() -> None:
        prepare_process()
        if DVC_STAGE in os.environ:
            end_with_dvc()
        try:
            missing = [name for name in ("params.yaml", "stages") if not Path(name).exists()]
            if missing and not {"-h", "--help"} & set(sys.argv):
                raise PipelineError(f"{missing[0]}: not in {Path.cwd()}", "run this in the project's folder")
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes again at exit
            sys.exit(141)
        except Exception as error:
            if not (line := anticipated(error)):
                raise
            sys.exit(f"error: {line}")
        except KeyboardInterrupt:
            print("interrupted; rerun to continue", file=sys.stderr)
            sys.exit(130)

    return run
