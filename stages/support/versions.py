"""Checks the versions of the libraries that decide results, which stages/*/requirements.txt pin."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stages.support.errors import PipelineError


def pins(folder: str) -> Path:
    """Returns the file with the pins of a folder of stages/, such as "models"."""
    return Path("stages") / folder / "requirements.txt"


def pinned(text: str) -> dict[str, str]:
    """Returns versions by package, from the lines `package==version` or `package[extra]==version` of a file."""
    return dict(re.findall(r"^([\w.-]+) *(?:\[[^\]]*\])? *== *([^\s;#]+)", text, re.MULTILINE))


def other_version(text: str) -> str:
    """Names the first package of a requirements file of which another version is installed; empty if there is none."""
    for package, expected in pinned(text).items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = "none"
        if installed != expected:
            return f"expected {package} {expected}, found {installed} installed"
    return ""


def check_versions(*folders: str) -> None:
    """Raises `PipelineError` if another version than a folder of stages/ pins is installed."""
    for folder in folders:
        path = pins(folder)
        if mismatch := other_version(path.read_text(encoding="utf-8")):
            raise PipelineError(f"{path}: {mismatch}; run: make repro (after an edit of the pins, first: make lock)")
