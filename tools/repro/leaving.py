"""What Python does when a process ends, for a fork that leaves by `os._exit`.

Python's own way would do too much: run what the process that forked has registered, such as the removal of a temporary
folder that it goes on using; and take TensorFlow apart, for a second. `multiprocessing` leaves as here.
"""

import atexit
import contextlib
import gc
import io
import logging
import sys
import tempfile
import threading
import weakref
from multiprocessing import util


def start_anew() -> None:
    """Forgets, in a fork, what the process that forked has registered for its own end."""
    atexit._clear()
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
    for standard in (logging.shutdown, util._exit_function):
        atexit.register(standard)
    tempfile.tempdir = None  # found anew, in another environment


def finish(status: int) -> int:
    """Waits for threads, calls what was registered, writes what is buffered; returns the exit status."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for file in gc.get_objects():  # that nobody has closed; of this process alone, as the other's are frozen
        if issubclass(type(file), io.IOBase):
            with contextlib.suppress(OSError, ValueError):
                file.flush()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream and not stream.closed:
                stream.flush()
    except OSError:
        return status or 120  # Python's own for it
    return status
