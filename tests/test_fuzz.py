"""A short run of tests/fuzz.py."""

from pathlib import Path

import pytest

from stages.support.errors import PipelineError

from .fuzz import FAULTS, outcome, run
from .fuzz_targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_and_hostile_files_are_read_or_refused_in_one_line(target: str, tmp_path: Path) -> None:
    outcomes = run(target, 100, tmp_path)
    assert not outcomes.keys() & set(FAULTS), [path.read_text() for path in tmp_path.glob("*.txt")]
    assert outcomes.total() == 100


@pytest.mark.parametrize(
    ("read", "happened"),
    [
        (lambda _: 1, "read"),
        (lambda path: _refuse(f"{path}: damaged"), "refused"),
        (lambda _: {}["x"], "traceback"),
        (lambda _: bytearray(2**60), "memory"),
        (lambda _: _wait(), "hang"),
        (lambda _: print("a\nb", file=__import__("sys").stderr), "several lines"),
    ],
)
def test_faults_are_told_apart(read, happened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.SLOWEST", 0.1)
    assert outcome(read, Path("file"))[0] == happened


def _refuse(text: str) -> None:
    raise PipelineError(text)


def _wait() -> None:
    while True:
        pass
