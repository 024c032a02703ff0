"""Too little memory, a full disk, and JSON that is not as it ought to be: one line each; a bug keeps its traceback."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from stages.support.errors import CUSTOM, PipelineError, anticipated, command
from stages.support.json import MAX_BYTES, parse_json, read_as

from .conftest import ROOT, Project


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("bytearray(2**60)", "MemoryError"),
        ("__import__('numpy').zeros(2**55)", "Unable to allocate 256. PiB for an array with shape"),
        ("(_ for _ in ()).throw(ImportError('x.so: failed to map segment from shared object'))", "x.so: failed to map"),
        (r"(_ for _ in ()).throw(MemoryError('ab\n' * 99))", f"{66 * 'ab '}ab; "),
    ],
)
def test_too_little_memory_is_one_line(code: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        command(lambda: eval(code))()  # noqa: S307
    assert ended.value.code.startswith(f"error: not enough memory: {reason}")
    assert ended.value.code.endswith("; close other programs, or make batches or layers smaller")


integers = partial(read_as, list[int])
LARGE = "x: expected at most 16,000,000 bytes, found 16,000,001"


@pytest.mark.parametrize(
    ("read", "content", "line"),
    [
        (parse_json, b"[1, NaN]", "x: not valid JSON: "),
        (parse_json, b"[-Infinity]", "x: not valid JSON: "),
        (parse_json, b"[" * 202 + b"]" * 202, "x: not valid JSON: recursion limit exceeded"),
        (parse_json, b"[1]".rjust(MAX_BYTES + 1), LARGE),
        (integers, b"[1]".rjust(MAX_BYTES + 1), LARGE),
        (integers, b"[1", "x: not valid JSON: EOF while parsing"),
        (integers, b'["1"]', r'x: \[0\]: expected a valid integer, found "1"'),
        (integers, b"[1.0]", r"x: \[0\]: expected a valid integer, found 1.0"),
    ],
)
def test_json_is_read_strictly(read: Callable[[bytes, str], object], content: bytes, line: str) -> None:
    with pytest.raises(PipelineError, match=f"^{line}"):
        read(content, "x")
    assert read(b"[1]".rjust(MAX_BYTES), "x") == [1]


FAILURES = {
    errno.ENOSPC: "cannot write: No space left on device; free some space and rerun",
    errno.EDQUOT: "cannot write: Disk quota exceeded; free some space and rerun",
    errno.EFBIG: "cannot write: File too large; free some space and rerun",
    errno.EACCES: "Permission denied; change who may write there, and rerun",
    errno.EPERM: "Operation not permitted; change who may write there, and rerun",
    errno.EROFS: "Read-only file system; change who may write there, and rerun",
    errno.EISDIR: "expected a file, found a folder; move it away and rerun",
}


def test_a_disk_that_cannot_be_written_is_one_line_and_a_bug_keeps_its_traceback() -> None:
    for number, line in FAILURES.items():
        assert anticipated(OSError(number, os.strerror(number), "a/b")) == f"a/b: {line}"
    assert (
        anticipated(OSError(errno.ENOSPC, "full")) == "a temporary file: cannot write: full; free some space and rerun"
    )
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("def f():\n    1 / 0\nf()", f"/a folder/{CUSTOM}", "exec"))  # noqa: S102
    assert anticipated(raised.value) == f"{CUSTOM}, line 2: ZeroDivisionError: division by zero"
    for bug in (OSError(errno.EACCES, "no file"), OSError(errno.ENOENT, "", "a"), ValueError("x"), KeyboardInterrupt()):
        assert anticipated(bug) is None


def train(project: Project, limit: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    """Trains in a process with limits."""
    line = [sys.executable, "-m", "stages.train", "cnn", "data/prepared/train", "new"]
    return subprocess.run(line, cwd=project.path, preexec_fn=limit, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_memory_in_which_tensorflow_would_abort_is_refused(project: Project) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1500 * 2**20, resource.RLIM_INFINITY))

    done = train(project, limit)
    assert done.returncode == 1
    message, _, advice = done.stderr.partition("; raise it with: ")
    assert message == "error: TensorFlow: expected at least 1,700 MiB of address space, found a limit of 1,500 MiB"
    assert subprocess.check_output(["bash", "-c", f"{advice.strip()} && ulimit -v"], preexec_fn=limit) == b"unlimited\n"


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_a_training_runs_in_two_gibibytes_and_with_64_open_files(project: Project) -> None:
    def limit() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # TensorFlow starts threads for each core
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = train(project, limit)
    assert done.returncode == 0, done.stderr
    assert (project.path / "new/10.keras").read_bytes() == (project.path / "data/models/cnn/10.keras").read_bytes()
