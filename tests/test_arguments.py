"""Numbers on command lines: anything but a number in range is reported, and nothing starts."""

import importlib
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from tools.common.arguments import number

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


@pytest.mark.parametrize(("code", "status"), [("while True: print(1)", 141), ("raise KeyboardInterrupt", 130)])
def test_a_command_behind_a_closed_pipe_or_ctrl_c_ends_as_in_a_shell(code: str, status: int) -> None:
    command = f"from stages.support.errors import command\n@command\ndef main():\n    {code}\nmain()"
    with subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        printed = process.stderr.read()
    assert (process.returncode, printed) == (status, "interrupted; rerun to continue\n" if status == 130 else "")


def test_help_is_printed_in_any_folder(tmp_path: Path) -> None:
    command, environment = [sys.executable, "-m", "stages.fetch", "--help"], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(b"usage: ")
