"""A project without git, as a ZIP download is: DVC runs there too, once its setting `core.no_scm` says so."""

import subprocess
import sys
from pathlib import Path

from stages.support.errors import PipelineError
from tools.common.revision import git

NO_SCM = "core.no_scm"
SET_HERE = Path(".dvc/tmp/no_scm")  # marks that the setting is ours, and to be taken back once there is git
WITHOUT = "everything runs, but no result can be compared with an earlier one"
NOTICE = f"no git repository: {WITHOUT}; git init starts one"


def adapt() -> None:
    """Lets DVC run without git where there is none, and with git again where it has come since.

    Prints on stderr if there is none, or if git refuses its repository.
    """
    if any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        if SET_HERE.exists():
            _config("--unset", NO_SCM)
            SET_HERE.unlink()
        try:
            git("rev-parse", "--git-dir")
        except PipelineError as error:
            print(f"{WITHOUT}: {error}", file=sys.stderr)
        return
    if not SET_HERE.exists():
        _config(NO_SCM, "true")
        SET_HERE.parent.mkdir(parents=True, exist_ok=True)
        SET_HERE.touch()
    print(NOTICE, file=sys.stderr)


def _config(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", *arguments], check=True)
