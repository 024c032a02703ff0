"""`make repro`'s schedule: which stages run side by side, and in which order; and what a stage writes of itself."""

import io
import sys
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest

from stages.support.processes import DVC_STAGE, REPRO_FOLDER
from stages.support.progress import events_file, finish, read_events, with_bar, write_event
from tools.repro.plan import Plan
from tools.repro.schedule import Schedule


@pytest.fixture
def plan() -> Plan:
    """Two architectures, the second the heavier; both prepared."""
    upstream = {"prepare": set(), "train@a": {"prepare"}, "report@a": {"train@a"}}
    upstream |= {"train@b": {"prepare"}, "report@b": {"train@b"}}
    return Plan(upstream, set(upstream) - {"prepare"}, dict.fromkeys(upstream, 1) | {"train@b": 2})


def started(plan: Plan, jobs: Callable[[], int], folder: Path, fails: str = "") -> list[list[str]]:
    """The stages that run together, moment by moment, as the schedule runs them."""
    folder.mkdir(exist_ok=True)
    moments: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch, Schedule(plan, jobs, folder) as work:
        patch.setattr(
            "tools.repro.schedule.DVC", [sys.executable, "-c", f"import sys; sys.exit(sys.argv[-1] == {fails!r})"]
        )
        while work.goes_on():
            ended = work.step()
            moments.append([stage.name for stage in [*ended, *work.running]])
    return moments


def test_stages_run_side_by_side_those_that_are_heavy_or_needed_first(plan: Plan, tmp_path: Path) -> None:
    one, two = (started(plan, lambda jobs=jobs: jobs, tmp_path / str(jobs)) for jobs in (1, 2))
    assert list(dict.fromkeys(chain(*one))) == ["train@b", "train@a", "report@a", "report@b"]
    assert (max(map(len, one)), max(map(len, two))) == (1, 2)
    assert set(chain(*started(plan, lambda: 2, tmp_path / "fails", "train@a"))) == {"train@a", "train@b", "report@b"}

    plan.outdated.add("prepare")  # the first; jobs are counted anew when it has ended, as there may be other data
    counts = chain([1, 1], repeat(2))
    assert {"train@a", "train@b"} in map(set, started(plan, lambda: next(counts), tmp_path / "anew"))


def test_events_are_read_while_a_stage_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPRO_FOLDER, str(tmp_path))
    monkeypatch.setenv(DVC_STAGE, stage := "a folder/dvc.yaml:train@a")
    assert read_events(tmp_path, stage) == []
    write_event(seed=10, epoch=1)
    finish("trained\nand more")
    with events_file(tmp_path, stage).open("a") as file:
        file.write('{"seed": 1')
    assert read_events(tmp_path, stage) == [{"seed": 10, "epoch": 1}, {"result": "trained"}]
    assert read_events(tmp_path, "train@a") == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_alone(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    assert list(with_bar([3, 1, 2], "pictures")) == [3, 1, 2]
    assert ("pictures" in stream.getvalue()) == is_terminal
    assert is_terminal or stream.getvalue() == ""
