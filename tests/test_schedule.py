"""`make repro`'s schedule: which stages run side by side, and in which order."""

import sys
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest

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
