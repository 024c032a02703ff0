"""Reads many damaged and hostile inputs with what reads other people's files, and counts what happens.

Run it by: python -m tests.fuzz [TARGET …] [--count N]

Hypothesis (https://hypothesis.readthedocs.io) draws each input: a valid file with a few edits. Each must be read, or
refused by one line; what else happens is a fault, and its input is kept in fuzz/.
"""

import argparse
import contextlib
import io
import multiprocessing
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stages.support.errors import PipelineError

from .fuzz_targets import TARGETS

SLOWEST = 10  # seconds for an input
PART = 10_000  # inputs read by one process
MOST_MEMORY = 2**30  # bytes
CHECKS = list(HealthCheck)
FAULTS = ("traceback", "hang", "memory", "several lines", "crash")
TOKENS = [
    b"", b"[", b"]", b"{", b"}", b"[" * 2000, b"{a: " * 2000, b'{"a":' * 2000, b"&a *a", b"&a [*a]", b"<<: *a",
    b"!!python/name:os", b"null", b"NaN", b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"true", b'"x"', b"\xff\xfe",
    b"\0", b"\n", b"\x1b[31m", b",", b":", b"2026-11-27", b"../../x", b"${a}", b"${architectures}", b"\xff" * 4,
    b"\0" * 4, b"PK\5\6", b"PK\1\2", b"IDAT", b"'shape': (", b"10000000000",
]  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Draws one of the files, with one to four edits."""
    name = draw(st.sampled_from(sorted(files)))
    content = files[name]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 8, 64, 1000, len(content)])))
        kind = draw(st.sampled_from(["token", "bytes", "repeat", "cut", "word"]))
        if kind == "token":
            new = draw(st.sampled_from(TOKENS))
        elif kind == "bytes":
            new = draw(st.binary(max_size=8))
        elif kind == "repeat":
            new = content[start:end] * draw(st.sampled_from([2, 3, 50]))
        elif kind == "cut":
            new, end = b"", len(content)
        else:  # another value at the place of one
            start, end = _word(content, start)
            new = draw(st.sampled_from(TOKENS))
        content = (content[:start] + new + content[end:])[:2_000_000]
    return name, content


def _word(content: bytes, start: int) -> tuple[int, int]:
    """Where the word at a place starts and ends: in JSON, YAML or CSV, a value."""
    ends = b' \n,:[]{}"'
    end = start
    while start > 0 and content[start - 1] not in ends:
        start -= 1
    while end < len(content) and content[end] not in ends:
        end += 1
    return start, end


class TooSlow(BaseException):
    """Ends the reading of an input. It is no `Exception`, as readers turn these into their own."""


def outcome(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """Reads a file; returns what happened, and, of a fault, its message or traceback."""

    def too_slow(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, SLOWEST)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as printed, warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)
        return ("several lines", printed.getvalue()) if printed.getvalue().count("\n") > 1 else ("read", "")
    except PipelineError as error:
        return ("several lines", str(error)) if "\n" in str(error) else ("refused", "")
    except TooSlow:
        return "hang", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fuzz(name: str, count: int, part: int, keep: Path) -> Counter[str]:
    """Reads `count` inputs with one target; counts the outcomes, and keeps the inputs that are faults in `keep`.

    Limits this process to `MOST_MEMORY` more than it has, and 1 GiB for libraries yet to be loaded.
    """
    used = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY + 2**30,) * 2)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        files = {str(path.relative_to(folder)): path.read_bytes() for path in target.files}

        @seed(part)
        @settings(
            max_examples=count, phases=[Phase.generate], deadline=None, database=None, suppress_health_check=CHECKS
        )
        @given(edited(files))
        def try_one(drawn: tuple[str, bytes]) -> None:
            path, content = drawn
            Path(folder, path).write_bytes(content)
            (keep / f"{name}-last").write_bytes(content)  # of a crash, this is left
            happened, why = outcome(target.read, Path(folder, path))
            Path(folder, path).write_bytes(files[path])
            outcomes[happened] += 1
            if happened in FAULTS:
                kept = keep / f"{name}-{happened}-{sha256(content).hexdigest()[:8]}"
                kept.write_bytes(content)
                kept.with_suffix(".txt").write_text(f"{path}\n{why}")

        try_one()
    (keep / f"{name}-last").unlink(missing_ok=True)
    return outcomes


def run(name: str, count: int, keep: Path) -> Counter[str]:
    """Fuzzes a target, each part of the inputs in a process of its own; one that dies counts as a crash."""
    keep = keep.resolve()
    keep.mkdir(exist_ok=True)
    outcomes: Counter[str] = Counter()
    for part, start in enumerate(range(0, count, PART)):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                outcomes += pool.submit(fuzz, name, min(PART, count - start), part, keep).result()
            except BrokenProcessPool:
                outcomes["crash"] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--count", type=int, default=100_000, help="inputs for each")
    arguments = parser.parse_args()
    faults = 0
    for name in arguments.target or TARGETS:
        outcomes = run(name, arguments.count, Path("fuzz"))
        counts = [f"{happened} {outcomes[happened]:,}" for happened in ("read", "refused", *FAULTS)]
        print(f"{name:10}", *counts, sep="   ", flush=True)
        faults += sum(outcomes[fault] for fault in FAULTS)
    sys.exit(f"{faults} faults: see fuzz/" if faults else 0)


if __name__ == "__main__":
    main()
