"""Numbers on command lines: anything but a number in range is reported, and nothing starts."""

import importlib
import io
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from tools.common.arguments import confirmed, number

from .conftest import ROOT


@pytest.mark.parametrize("command", ["tools.repro --jobs", "pytest tests/test_arguments.py --times"])
def test_a_command_reports_a_wrong_number(command: str) -> None:
    line = [sys.executable, "-m", *command.split(), "-1"]
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode != 0
    assert re.search(f"error: argument {line[-2]}: expected a whole number, 1 .*, found '-1'\n", done.stderr)
    assert "Traceback" not in done.stderr


WHOLE, ANY = (number(1, most=1000), "a whole number, 1 to 1000"), (number(0, float), "0 or more")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((WHOLE, text) for text in ("-1", "0", "½", "1e3", "1.5", "", "nan", "inf", "9" * 5000, str(10**30))),
        *((ANY, text) for text in ("-0.1", "nan", "inf", "-inf", "1e400", "one")),
    ],
)
def test_what_is_no_number_in_range(kind: tuple, text: str) -> None:
    parse, expected = kind
    with pytest.raises(ArgumentTypeError, match=f"^expected {expected}, found "):
        parse(text)


def test_numbers() -> None:
    assert (number(1)("7"), number(1)(str(10**30)), number(0, float)("1e-3")) == (7, 10**30, 0.001)
    assert [number(1, most=9)(limit) for limit in "19"] == [1, 9], "both limits are in range"


@pytest.mark.parametrize(
    ("answer", "confirms"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yesterday\n", False), ("", False)],
)
def test_only_yes_confirms(answer: str, confirms: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(PipelineError, match=r"^no terminal to ask on; to delete these, run: make x YES=1$"):
        confirmed("delete?", "make x YES=1")
    terminal.isatty = lambda: True
    assert confirmed("delete?", "make x YES=1") is confirms


MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__main__").replace("/", ".")
    for folder in ("stages", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if "\n@command\n" in path.read_text()
)


@pytest.mark.parametrize(
    ("module", "folder", "missing"),
    [
        *((module, "", "params.yaml") for module in MODULES),
        ("stages.train", "docs", "params.yaml"),
        ("stages.train", "tests", "stages"),  # where there is a params.yaml
    ],
)
def test_a_command_in_another_folder_says_where_to_run_it(
    module: str, folder: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    main = importlib.import_module(f"{module}.__main__" if is_package else module).main
    here = ROOT / folder if folder else tmp_path
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "argv", [module])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: {missing}: not in {here}; run this in the project's folder"


def test_help_is_printed_in_any_folder(tmp_path: Path) -> None:
    command, environment = [sys.executable, "-m", "stages.fetch", "--help"], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(b"usage: ")
