"""`python -m stages.…` in a fork of a process that has imported the libraries: as the real command, only sooner."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.warm import warm_commands

PROBE = """\
import os, sys
print(sys.argv[1:], os.environ["WORD"], os.path.basename(os.getcwd()), "json.tool" in sys.modules)
print("to stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/probe.py").write_text(PROBE)
    return tmp_path


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The commands of a process that has imported a library which Python does not import by itself."""
    far_away = (
        tmp_path / "a rather long name of a temporary folder" / "and another in it, longer than a socket's path may be"
    )
    far_away.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(far_away))
    with warm_commands() as warm:
        warm.start("others", ["json.tool"])
        yield warm.folder


def run(python: Path, project: Path, *arguments: str) -> tuple[int, str, str]:
    environment = os.environ | {"WORD": "ü b"}
    done = subprocess.run([python, *arguments], cwd=project, env=environment, text=True, capture_output=True)
    return done.returncode, done.stdout, done.stderr


def test_a_command_has_its_arguments_environment_folder_streams_and_status(commands, project) -> None:
    told = run(commands / "python", project, "-m", "stages.probe", "3", "a b")
    assert told == (3, f"['3', 'a b'] ü b {project.name} True\n", "to stderr\n")


def test_it_reads_the_code_anew(commands, project) -> None:
    for word in ("one", "two"):
        (project / "stages/probe.py").write_text(f"print('{word}')")
        assert run(commands / "python", project, "-m", "stages.probe") == (0, f"{word}\n", "")


def test_an_error_keeps_its_traceback(commands, project) -> None:
    (project / "stages/probe.py").write_text("1 / 0")
    status, _, errors = run(commands / "python", project, "-m", "stages.probe")
    assert status == 1
    assert errors.endswith("ZeroDivisionError: division by zero\n")


def test_another_command_is_run_by_python_itself(commands, project) -> None:
    assert run(commands / "python", project, "-c", "import sys; print(sys.executable)") == (
        0,
        f"{sys.executable}\n",
        "",
    )


def test_without_the_process_the_command_is_run_by_python_itself(commands, project) -> None:
    (commands.parent / "others").unlink()
    assert run(commands / "python", project, "-m", "stages.probe", "0")[:2] == (
        0,
        f"['0'] ü b {project.name} False\n",
    )
