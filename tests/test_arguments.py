"""Numbers on command lines: anything but a number in range is reported, and nothing starts."""

import importlib
import io
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from stages.support.errors import PipelineError
from tools.common import arguments

from .conftest import ROOT


def test_what_is_no_number_in_range_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for number, expected, texts in (
        (arguments.number(1, most=1000), "a whole number, 1 to 1000", ("-1", "0", "½", "1e3", "1.5", "", "9" * 5000)),
        (arguments.number(0, float), "0 or more", ("-0.1", "nan", "inf", "-inf", "1e400", "one")),
    ):
        for text in texts:
            with pytest.raises(ArgumentTypeError, match=f"^expected {expected}, found "):
                number(text)
    assert (arguments.number(1)("7"), arguments.number(0, float)("1e-3")) == (7, 0.001)
    assert [arguments.number(1, most=9)(limit) for limit in "19"] == [1, 9], "both limits are in range"

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["repro", "--jobs", "-1"])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module("tools.repro.__main__").main()
    assert "error: argument --jobs: expected a whole number, 1 or more, found '-1'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "confirms"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yesterday\n", False), ("", False)],
)
def test_only_yes_confirms(answer: str, confirms: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(PipelineError, match=r"^no terminal to ask on; to delete these, run: make x YES=1$"):
        arguments.confirmed("delete?", "make x YES=1")
    terminal.isatty = lambda: True
    assert arguments.confirmed("delete?", "make x YES=1") is confirms


MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__main__").replace("/", ".")
    for folder in ("stages", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if "\n@command\n" in path.read_text()
)


@pytest.mark.parametrize(
    ("module", "folder", "missing"),
    [
        *((module, "docs", "params.yaml") for module in MODULES),
        ("stages.train", "tests", "stages"),  # where there is a params.yaml
    ],
)
def test_a_command_in_another_folder_says_where_to_run_it(module: str, folder: str, missing: str, monkeypatch) -> None:
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    main = importlib.import_module(f"{module}.__main__" if is_package else module).main
    monkeypatch.chdir(ROOT / folder)
    monkeypatch.setattr(sys, "argv", [module])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: {missing}: not in {ROOT / folder}; run this in the project's folder"


@pytest.mark.parametrize(("code", "status"), [("while True: print(1)", 141), ("raise KeyboardInterrupt", 130)])
def test_a_command_behind_a_closed_pipe_or_ctrl_c_ends_as_in_a_shell(code: str, status: int) -> None:
    command = f"from stages.support.errors import command\n@command\ndef main():\n    {code}\nmain()"
    with subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        printed = process.stderr.read()
    assert (process.returncode, printed) == (status, "interrupted; rerun to continue\n" if status == 130 else "")
