"""Checks the versions of the libraries that decide results, which stages/requirements/ pins."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stages.common.errors import PipelineError

PINS = Path("stages/requirements")


def pinned(text: str) -> dict[str, str]:
    """Versions by package, from the lines `package==version` of a requirements file."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;#]+)", text, re.MULTILINE))


def check_versions(*files: str) -> None:
    """Raises `PipelineError` if an installed version is not the one that stages/requirements/FILE.txt pins."""
    for name in files:
        path = PINS / f"{name}.txt"
        for package, expected in pinned(path.read_text(encoding="utf-8")).items():
            try:
                found = version(package)
            except PackageNotFoundError:
                found = "none"
            if found != expected:
                install = "run: make repro (if you edited the pin, first: make lock)"
                raise PipelineError(f"{path}: expected {package} {expected}, found {found} installed; {install}")
