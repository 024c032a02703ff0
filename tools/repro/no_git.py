"""A project without git, as a ZIP download is: DVC runs there too, once its setting `core.no_scm` says so."""

import subprocess
import sys
from pathlib import Path

from stages.support.errors import PipelineError
from tools.common.git import git

CONFIG = Path(".dvc/config.local")
WITHOUT = "everything runs, but no result can be compared with an earlier one"


def adapt() -> None:
    """Lets DVC run without git where there is none, and with git again where it has come since.

    Prints on stderr if there is none, or if git refuses its repository.
    """
    has_git = any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
    is_set = CONFIG.exists() and "no_scm = true" in CONFIG.read_text(encoding="utf-8")
    if has_git == is_set:
        words = ["--unset", "core.no_scm"] if is_set else ["core.no_scm", "true"]
        subprocess.run([sys.executable, "-m", "dvc", "config", "--local", *words], check=True)
    try:
        git("rev-parse", "--git-dir")
    except PipelineError as error:
        reason = f"{WITHOUT}: {error}" if has_git else f"no git repository: {WITHOUT}; git init starts one"
        print(reason, file=sys.stderr)
