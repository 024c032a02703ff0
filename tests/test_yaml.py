"""Tests of the strict YAML reader, against the one that DVC reads with."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import YAMLFileCorruptedError
from dvc.utils.serialize import parse_yaml as dvc_parse
from hypothesis import example, given
from hypothesis import strategies as st

from stages.support import yaml
from stages.support.errors import PipelineError
from stages.support.yaml import MAX_BYTES, parse_yaml, read_yaml, to_yaml
from tests.conftest import ROOT

SCALARS = re.split(
    r"\s+",
    """1e-3 1.5e3 .5 5. 1_000 017 0o17 0x1F 0b101 +1 -1 -0 1:30 12:30:45 on off yes no y n true True TRUE tRue null Null
    ~ .inf -.inf .nan .NaN 2020-01-01 2020-1-1 2020-01-01T10:00:00Z = << 1e3 1E+5 .5e3 .5e+3 0o9 08 1__0 -_1 +.5
    -.5e-3 e1 _1""",
)
scalars = st.sampled_from(SCALARS) | st.text("0123456789abefonxyE_.:+-~", min_size=1, max_size=8) | st.text(max_size=6)


def in_flow_style(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(scalars, inner).map(": ".join)
    mappings = st.lists(pairs, max_size=3).map(lambda items: f"{{{', '.join(items)}}}")
    return st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]") | mappings


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same, of the same type, a NaN being the same as another."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(st.lists(st.tuples(scalars, st.recursive(scalars, in_flow_style, max_leaves=6)), min_size=1, max_size=4))
def test_reads_what_dvc_reads(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in pairs)
    try:
        theirs = dvc_parse(text, "file")
        ours = parse_yaml(text.encode("utf-8", errors="replace"), "file")
    except (PipelineError, YAMLFileCorruptedError, ValueError, AttributeError, TypeError, NotImplementedError):
        return
    assert equal(ours or {}, theirs)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{n}: {scalar}\n" for n, scalar in enumerate(SCALARS) if scalar not in ("=", "<<", "-_1")),
        *((ROOT / name).read_text() for name in ("params.yaml", "dvc.yaml", "dvc.lock")),
        "a: &a {k: 1, m: 2}\nb: {<<: *a, k: 3}",
        "x: {y: &a {<<: {k: 2}, k: 1}}\nb: {<<: *a}",
        "a: &a {k: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], n: 3}",
        "a: &a [1, 2]\nb: *a",
    ],
    ids=lambda text: text[:20],
)
def test_accepts_what_dvc_accepts(text: str) -> None:
    assert equal(parse_yaml(text.encode(), "file"), dvc_parse(text, "file"))


texts = (
    scalars | st.text(st.characters(exclude_categories=["Cs"])) | st.text("a1 #:-'\"\\\n\t,[]{}&*!|>%@`?\x85\ufeff🙂")
)
keys = texts | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans() | st.dates()
values = st.recursive(
    keys | st.integers(-(10**99), 10**99),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(values, st.sampled_from([None, True]))
@example({8: 1.5, "8": 1e-5, None: None, 2**64: "2020-01-01"}, None)
@example(["1e-5", "0o17", "08", "1_000e3", "<<", "=", "a\x85 b\u2028", "🙂"], None)
def test_reads_what_was_written(value: Any, flow: bool | None) -> None:
    text = to_yaml({"key": value}, flow)
    assert equal(parse_yaml(text.encode(), "file"), {"key": value})
    assert equal(dvc_parse(text, "file"), {"key": value})


def test_writes_as_people_do() -> None:
    layers = [{"Dense": {"units": 5}}]
    lines = "  - Dense: {units: 5}\n"
    assert to_yaml({"a": layers, "b": layers}) == f"a:\n{lines}b:\n{lines}", "indented, without aliases"


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate key 'a'"),
        ("a: {<<: 1}", "line 1, column 9: expected a mapping to merge"),
        ("a: &a [*a]", "an alias stands for something that holds the alias"),
        (BOMB, "more than 500,000 keys and values"),
        ("[" * 51 + "]" * 51, "50 levels"),
        (f"a: &a {'[' * 48}{']' * 48}\nb: [[*a]]", "50 levels, with aliases written out"),
        ("a: 0x" + "f" * 5000, "expected integers of at most 100 digits, found one of 5,002"),
        ("[" * 100_000, "nesting depth"),
        ("%YAML 1.1\n---\na: on", "remove the line"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: [1, 2", "line 2, column 1: did not find expected ',' or ']'"),
        ("a:\n<<<<<<< HEAD\n  1\n=======\n  2\n>>>>>>> b\n", "line 2: a merge conflict; resolve it, then rerun"),
        ("#" * MAX_BYTES + "#", f"expected at most {MAX_BYTES:,} bytes"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=rf"^file: not valid YAML: .*{re.escape(message)}"):
        parse_yaml(text.encode(), "file")


def test_limits_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("[" * 50 + "]" * 50, f"a: &a {'[' * 48}{']' * 48}\nb: [*a]", "a: 1".ljust(MAX_BYTES)):
        parse_yaml(text.encode(), "file")
    monkeypatch.setattr(yaml, "MAX_NODES", 10)
    assert parse_yaml(b"a: &a [1, 2]\nb: [*a]", "file") == {"a": [1, 2], "b": [[1, 2]]}
    with pytest.raises(PipelineError, match="more than 10 keys and values"):
        parse_yaml(b"a: &a [1, 2]\nb: [*a, 3]", "file")


def test_a_byte_order_mark_and_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes("\ufeffa: é\r\n".encode())
    assert read_yaml(tmp_path / "bom.yaml") == {"a": "é"}
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(PipelineError, match=r"latin\.yaml: not valid YAML: 'utf-8' codec"):
        read_yaml(tmp_path / "latin.yaml")
