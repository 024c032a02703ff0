"""dvc.lock: what DVC recorded of each stage when it last ran."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

LOCK = Path("dvc.lock")


def read_lock(path: Path = LOCK) -> dict[str, Any]:
    """The entries of a dvc.lock by stage; none if there is no such file."""
    return YAML(typ="safe").load(path)["stages"] if path.exists() else {}
