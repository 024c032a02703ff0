"""`make repro` without DVC: which stages run side by side, in which order, with how many jobs; what it prints."""

import io
import sys
from itertools import chain, repeat
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from rich.console import Console

from stages.support.processes import DVC_STAGE, REPRO_FOLDER
from stages.support.progress import events_file, finish, read_events, with_bar, write_event
from tools.common.results import COMPARISON
from tools.common.revision import WORKSPACE
from tools.repro import __main__ as repro
from tools.repro import progress
from tools.repro.plan import Plan
from tools.repro.schedule import Schedule, StartedStage


@pytest.mark.parametrize(
    ("kernels", "jobs", "at_once"), [("portable", None, 5), ("portable", 3, 3), ("native", None, 1), ("native", 3, 3)]
)
def test_jobs_are_as_many_as_given_or_as_fit(kernels: str, jobs: int | None, at_once: int, monkeypatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(repro, "run", lambda _plan, jobs, *_: counts.append(jobs()))
    monkeypatch.setattr(repro, "at_once", lambda: 5)
    params = SimpleNamespace(train=SimpleNamespace(kernels=kernels))
    repro._run(Plan({}, set(), {}), params, SimpleNamespace(jobs=jobs, verbose=False, targets=[]))
    assert counts == [at_once]


@pytest.mark.parametrize(
    ("status", "verbose", "line", "printed"),
    [
        (0, False, "done: train@cnn  0 s  trained", ["error"]),
        (0, True, "done: train@cnn  0 s  trained", ["output", "error"]),
        (1, False, "FAILED: train@cnn  0 s  failed", ["output", "error"]),
        (-15, False, "FAILED: train@cnn  0 s  ended by SIGTERM", ["output", "error"]),
    ],
)
def test_what_a_stage_printed_is_shown_if_it_failed_or_all_is_asked_for(
    status: int, verbose: bool, line: str, printed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: tmp_path / name for name in ("output", "error")}
    for name, path in paths.items():
        path.write_text(name)
    results = [{"result": "cnn: early"}, {"epoch": 1}, {"result": "cnn: trained"}]
    monkeypatch.setattr(progress, "read_events", lambda *_: results)
    stage = StartedStage("train@cnn", SimpleNamespace(returncode=status), *paths.values(), None)
    with (tmp_path / "shown").open("w", encoding="ascii") as shown:
        progress._print_end(Console(file=shown), stage, tmp_path, verbose)
    assert (tmp_path / "shown").read_text().splitlines() == [line, *(f"  {name}" for name in printed)]


@pytest.mark.parametrize(
    ("jobs", "on_cluster", "trains", "first", "then"),
    [
        (4, 0, False, ["train@b", "train@a"], ["train@b", "report@a"]),
        (1, 0, False, ["train@b"], ["train@b"]),
        (4, 0, True, ["train@b", "train@a"], ["train@b", "report@a"]),
        (1, 0, True, ["train@b"], ["train@b"]),  # which shares out the only slot among its seeds
        (1, 2, True, ["train@b", "train@a"], ["train@b", "report@a"]),
    ],
)
def test_a_stage_waits_for_what_it_needs_and_for_room(
    jobs: int, on_cluster: int, trains: bool, first: list[str], then: list[str], tmp_path: Path, monkeypatch
) -> None:
    """Of two architectures, the second is the heavier."""
    upstream = {"prepare": set(), "train@a": {"prepare"}, "report@a": {"train@a"}}
    upstream |= {"train@b": {"prepare"}, "report@b": {"train@b"}}
    ended: dict[str, int] = {}
    started: list[str] = []

    def run(_: Schedule, name: str, slot: int | None) -> StartedStage:
        started.append(name)
        return StartedStage(name, SimpleNamespace(poll=lambda: ended.get(name), returncode=0), tmp_path, tmp_path, slot)

    monkeypatch.setattr(Schedule, "_run", run)
    commands = {name: "python -m stages.train x" for name in upstream if name.startswith("train") and trains}
    plan = Plan(upstream, set(upstream), dict.fromkeys(upstream, 1) | {"train@b": 2}, commands=commands)
    counts = chain([1, 1], repeat(jobs))  # anew when the first stage has ended, as there may be other data
    with Schedule(plan, lambda: next(counts), tmp_path, on_cluster) as work:
        assert list(Path(work.environment["TMPDIR"]).iterdir()) == []
        for _ in range(2):
            work.step()
            assert started == ["prepare"], "what runs has not ended"
        ended["prepare"] = 0
        for _ in range(3):
            work.step()
        assert [stage.name for stage in work.running] == first
        ended["train@a"] = 0
        for _ in range(2):
            work.step()
        assert [stage.name for stage in work.running] == then
        ended.update(dict.fromkeys(plan.upstream, 0))
        while work.goes_on():
            work.step()
    assert not work.failed
    assert started[:3] == ["prepare", "train@b", "train@a"], "the heavy first"
    assert trains or started[3:] == ["report@a", "report@b"]


@pytest.mark.parametrize(
    ("before", "after", "status", "shown"),
    [(None, "a", 0, "table\n"), ("a", "b", 0, "table\n"), ("a", "a", 0, ""), ("a", "b", 3, "")],
)
def test_the_comparison_is_printed_if_it_has_changed(
    before: str | None, after: str, status: int, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def draw(*_: object, **__: object) -> CompletedProcess:
        COMPARISON.write_text(after)
        return CompletedProcess([], status, "table\n")

    monkeypatch.chdir(tmp_path)
    COMPARISON.parent.mkdir()
    if before:
        COMPARISON.write_text(before)
    monkeypatch.setattr(repro.subprocess, "run", draw)
    assert (repro.draw_overview(), capsys.readouterr().out) == (status, shown)


@pytest.mark.parametrize(
    ("commits", "base"), [("HEAD main origin/main", "origin/main"), ("HEAD main", "main"), ("HEAD", "HEAD"), ("", None)]
)
def test_what_has_changed_is_compared_with_the_last_commit_and_later_with_main(commits, base, monkeypatch) -> None:
    items = [
        SimpleNamespace(changed=bool(name), summary=lambda level, name=name: f"{name} {level}") for name in ("", "b")
    ]
    monkeypatch.setattr(repro, "_commit", lambda name: name if name in commits.split() else None)
    monkeypatch.setattr(repro, "changes", lambda head, here: items if (head, here) == ("HEAD", WORKSPACE) else [])
    last = f"look at plots/report.html; compare: make review BASE={base}"
    assert repro._changed_since_head(0.9) == (["b 0.9", last] if base else [])
    items.clear()
    assert repro._changed_since_head(0.9) == (["same results as in HEAD", last] if base else [])


def test_an_overview_that_cannot_be_drawn_gives_its_status(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    replaced = {"load_params": None, "unseen_by_dvc": [], "overview_is_current": False, "draw_overview": 3}
    for name, value in replaced.items():
        monkeypatch.setattr(repro, name, lambda *_, value=value: value)
    monkeypatch.setattr(repro.no_git, "adapt", lambda: None)
    monkeypatch.setattr(Plan, "read", lambda *_: Plan({}, set(), {}))
    with pytest.raises(SystemExit, match=r"^3$"):
        repro._reproduce(SimpleNamespace(targets=[], allow_missing=False))
    repro._reproduce(SimpleNamespace(targets=["fetch"], allow_missing=False))
    assert capsys.readouterr().out == 2 * "nothing to run: data, models and results are up to date\n"


def test_a_duration_has_minutes_from_a_hundred_seconds_on() -> None:
    durations = {0.4: "0 s", 99.4: "99 s", 99.6: "1 min 40 s", 119.7: "2 min 0 s", 3661: "61 min 1 s"}
    assert {seconds: progress._duration(seconds) for seconds in durations} == durations


def test_dependents_wait_directly_or_not() -> None:
    upstream = {"prepare": set(), "train@a": {"prepare"}, "train@b": {"prepare"}, "report@a": {"train@a"}}
    plan = Plan(upstream, set(upstream), dict.fromkeys(upstream, 1))
    dependents = {name: plan.dependents(name) for name in ("prepare", "train@a", "report@a")}
    assert dependents == {"prepare": {"train@a", "train@b", "report@a"}, "train@a": {"report@a"}, "report@a": set()}


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
