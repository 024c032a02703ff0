"""Numbers on command lines: anything but a number in range is reported, and nothing starts."""

import re
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from tools.common.arguments import number

from .conftest import ROOT

COMMANDS = {
    "make repro": (["tools.repro", "--jobs"], "-1"),
    "chaos": (["pytest", "tests/test_arguments.py", "--times"], "-1"),
}


@pytest.mark.parametrize(("command", "found"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_reports_a_wrong_number(command: list[str], found: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, found], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert re.search(f"error: argument {command[-1]}: expected a whole number, 1 .*, found '{found}'\n", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["-1", "0", "½", "1e3", "1.5", "", "nan", "inf", "9" * 5000, str(10**30)])
def test_no_whole_number_from_1_to_a_thousand(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected a whole number, 1 to 1000, found "):
        number(1, most=1000)(text)


@pytest.mark.parametrize("text", ["-0.1", "nan", "inf", "-inf", "1e400", "one"])
def test_no_number_from_0(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected 0 or more, found "):
        number(0, float)(text)


def test_numbers() -> None:
    assert (number(1)("7"), number(1)(str(10**30)), number(0, float)("1e-3")) == (7, 10**30, 0.001)
