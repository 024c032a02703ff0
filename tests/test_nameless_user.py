"""A user without an entry in /etc/passwd, as in `docker run --user 1234` or on OpenShift, without USER and HOME."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.support.processes import prepare_process

from .conftest import Project
from .faults import make_stale

UNSET = ("USER", "LOGNAME", "LNAME", "USERNAME")  # what getpass.getuser reads first
OTHER_USER = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
NO_ENTRY = """\
import pwd
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
"""


def nameless(home: str, folder: Path) -> list[str]:
    """The beginning of a command line that runs as a user of another number, or where there seems to be no entry."""
    options = [*(f"--unset={name}" for name in UNSET), home]
    if shutil.which("unshare") and not subprocess.run([*OTHER_USER, "true"], capture_output=True).returncode:
        return ["env", *options, *OTHER_USER]
    (folder / "sitecustomize.py").write_text(NO_ENTRY)
    return ["env", *options, f"PYTHONPATH={folder}"]


@pytest.mark.parametrize("home", ["HOME=/", "--unset=HOME"])
def test_make_repro_runs_although_plain_dvc_needs_a_name(home: str, project: Project, tmp_path: Path) -> None:
    make_stale(project, "report@cnn")
    user = nameless(home, tmp_path)
    done = project.ordinary.run(*user, "dvc", "status", check=False)
    assert done.returncode
    assert "getpwuid" in done.stderr or "could not determine the home directory" in done.stderr
    project.ordinary.run(*user, "python", "-m", "tools.repro")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("command", ["tools.plots.preview", "tools.review HEAD", "stages.fetch new.npz new.json"])
def test_other_commands_run(project: Project, command: str, tmp_path: Path) -> None:
    project.ordinary.run(*nameless("--unset=HOME", tmp_path), "python", "-m", *command.split())


def test_a_name_and_a_home_are_kept(project: Project, tmp_path: Path) -> None:
    code = "import os; from stages.support.processes import prepare_process; prepare_process(); "
    code += "print(os.environ.get('LOGNAME'), os.environ['USER'], os.environ['HOME'])"
    names = ("--unset=LOGNAME", "USER=ann", f"HOME={tmp_path}")
    assert project.run("env", *names, "python", "-c", code).stdout == f"None ann {tmp_path}\n"


def test_git_and_dvc_use_the_repository_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a git hook which runs a command. Settings, such as a proxy, are kept."""
    listed = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    names = {*listed.stdout.split(), "GIT_AUTHOR_NAME", "GIT_TEMPLATE_DIR"}
    for name in names:
        monkeypatch.setenv(name, "x")
    prepare_process()
    assert {name for name in names if name in os.environ} == {
        "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_AUTHOR_NAME"
    }  # fmt: skip
