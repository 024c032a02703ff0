"""What differs in the params, metrics and dvc.lock of two sides, as a review lists it."""

from pathlib import Path
from typing import Any

import pytest

from stages.common.files import write_json
from stages.support.errors import PipelineError
from tools.common.lock import entries_of, read_lock, split
from tools.common.revision import Revision
from tools.review import differences
from tools.review.differences import ValueChange, metrics_differences, params_differences
from tools.review.stages import grouped, stage_changes

from .conftest import ROOT


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Revision, Revision]:
    return Revision("base", None, tmp_path / "base"), Revision("head", None, tmp_path / "head")


def write(side: Revision, path: str, content: Any) -> None:
    write_json(side.folder / path, content)


def listed(changes: list[ValueChange]) -> list[tuple]:
    return [(item.key, item.old, item.new, item.change) for item in changes]


def test_params_differ_by_key_in_order(sides: tuple[Revision, Revision]) -> None:
    base, head = sides
    long = "x" * 201
    write(base, "params.yaml", {"a": {"b": 1, "same": [1]}, "gone": True, "flag": True, "big": 10**15, "t": ""})
    write(head, "params.yaml", {"n": {}, "a": {"b": 2.5, "same": [1], long: None}, "flag": False, "big": 5, "t": long})
    cut = "x" * 199 + "…"
    assert listed(params_differences(base, head)) == [
        ("a.b", 1, 2.5, "+1.5"),
        ("a." + "x" * 197 + "…", None, None, ""),
        ("big", 10**15, 5, ""),
        ("flag", True, False, ""),
        ("gone", True, None, ""),
        ("t", "", cut, ""),
    ]
    assert params_differences(base, base) == []
    many = {f"{number:03}": number for number in range(501)}
    write(head, "params.yaml", many)
    assert len(params_differences(base, head)) == 500
    assert {item.path for item in params_differences(base, head)} == {"params.yaml"}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (["Flatten", 1], ["Flatten", {"Dense": {"units": 7, "kernel": {"L2": {"l2": 0.5}}}}],
         ["  Flatten", "- 1", "+ Dense: {units: 7, kernel: {L2: {l2: 0.5}}}"]),
        (None, ["a"], ["+ a"]),
        (["a"], "b", ["- a", "+ b"]),
        ([], [["x"]], ["+ ['x']"]),
        ("a", "b", []),
        ([0] * 200, [0] * 202, [*["  0"] * 200, "+ … and 2 more"]),
        (["y" * 200], ["y" * 201], ["- " + "y" * 200, "+ " + "y" * 199 + "…"]),
    ],
)  # fmt: skip
def test_lists_differ_by_line(old: Any, new: Any, lines: list[str]) -> None:
    assert ValueChange("params.yaml", "layers", old, new).lines == lines


def test_metrics_differ_by_file_and_number(sides: tuple[Revision, Revision], monkeypatch: pytest.MonkeyPatch) -> None:
    base, head = sides
    for side, names in (base, "cab"), (head, "dab"):
        write(side, "params.yaml", {"architectures": {name: {} for name in names}})
        write(side, "metrics/a.json", {"accuracy": 0.5, "dataset": ["x"], "of": {"loss": 2}})
    write(head, "metrics/b.json", {"accuracy": 1, "name": "x"})
    write(base, "metrics/c.json", {"loss": 0.25})
    write(head, "metrics/c.json", {"loss": 0.25})
    (head.folder / "metrics/d.json").write_text("[")
    write(head, "metrics/a.json", {"accuracy": 0.25, "dataset": ["y"], "of": {"loss": 2}})
    changed, unreadable = metrics_differences(base, head)
    assert listed(changed) == [("accuracy", 0.5, 0.25, "-0.25"), ("accuracy", None, 1, "")]
    assert [item.path for item in changed] == ["metrics/a.json", "metrics/b.json"]
    assert len(unreadable) == 1
    assert unreadable[0].startswith("metrics/d.json in head: not valid JSON")
    monkeypatch.setattr(differences, "MAX_DIFFERENCES", 1)
    assert len(metrics_differences(base, head)[0]) == 1


def entry(cmd: str = "run", params: dict | None = None, deps: dict | None = None, **outs: str) -> dict[str, Any]:
    files = ([{"path": path, "md5": md5} for path, md5 in (side or {}).items()] for side in (deps, outs))
    return {"cmd": cmd, "params": {"params.yaml": params or {}}, **dict(zip(("deps", "outs"), files, strict=True))}


def test_stages_differ_in_what_they_ran_on(sides: tuple[Revision, Revision]) -> None:
    base, head = sides
    for side in sides:
        write(side, "params.yaml", {"architectures": {name: {} for name in "abcdef"}})
    code = {"code.py": "1", "folder": "1"}
    before = {
        "same": entry(out="1"), "gone": entry(), "fetch": entry(**{"raw/x": "1"}), "command": entry(),
        "read": entry(deps={"raw": "1", "code.py": "1"}), "params": entry(params={"x": 1, "y": 2, "z": 3}),
        **{f"train@{name}": entry(deps=code) for name in "abcdef"}, "train@removed": entry(),
    }  # fmt: skip
    after = before | {
        "fetch": entry("other", **{"raw/x": "2"}),
        "command": entry("other"),
        "read": entry(deps={"raw": "2", "code.py": "1"}, out="x"),
        "params": entry(params={"x": 2, "z": 3, "new": 1}, out="x"),
        "new": entry(),
        **{f"train@{name}": entry(deps=code | {"code.py": "2"}, out="x") for name in "abcde"},
    }
    del after["gone"]
    write(base, "dvc.lock", {"stages": before})
    write(head, "dvc.lock", {"stages": after})
    assert stage_changes(base, head) == [
        ("fetch", "its command"),
        ("command", "its command, with the same results"),
        ("read", "its inputs"),
        ("params", "x, y, new"),
        ("train (5 stages)", "code.py"),
        ("new", "added"),
        ("gone", "removed"),
    ]
    assert stage_changes(base, base) == []


def test_stages_of_a_kind_with_the_same_reasons_are_one_line() -> None:
    reasons = {"train@a": ["x"], "train@b": ["y"], "train@c": ["x"], "report@a": ["x"], "none": []}
    assert grouped(reasons) == [("train@a, train@c", "x"), ("train@b", "y"), ("report@a", "x")]
    assert grouped({f"train@{name}": list("1234") for name in "abcd"}) == [
        ("train@a, train@b, train@c, train@d", "1, 2, 3, 4")
    ]
    assert grouped({f"train@{name}": list("123456") for name in "abcde"}) == [
        ("train (5 stages)", "1, 2, 3, 4, and 2 more")
    ]


def test_a_lock_is_split_by_its_entries_if_dvc_wrote_it_alone(tmp_path: Path) -> None:
    text, start = (ROOT / "dvc.lock").read_text(), "schema: '2.0'\nstages:\n"
    head, entries = split(text)
    assert (head, list(entries)) == (start, list(read_lock(ROOT / "dvc.lock")))
    assert head + "".join(entries.values()) == text
    assert all(block.startswith(f"  {name}:\n") for name, block in entries.items())
    assert split(start) == (start, {})
    for other in (f"{text}# mine\n", f"{text}datasets: []\n", text.replace("2.0", "1.0"), "{}\n", ""):
        assert split(other) is None
    assert read_lock(tmp_path / "dvc.lock") == {}
    (tmp_path / "dvc.lock").write_text("stages:\n")
    assert read_lock(tmp_path / "dvc.lock") == {}
    (tmp_path / "dvc.lock").write_text("stages: {fetch: [1]}\n")
    with pytest.raises(PipelineError, match=r"^dvc.lock in here: stages.fetch: expected"):
        entries_of(Revision("here", None, tmp_path))
