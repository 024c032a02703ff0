"""Edits params.yaml of a copy of the project."""

from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from stages.support.params import PARAMS_PATH
from stages.support.yaml import read_yaml


def edit_params(project: Path, **values: Any) -> None:
    """Sets values by their dotted names, such as `**{"train.seeds": [10]}`."""
    content = read_yaml(project / PARAMS_PATH)
    for name, value in values.items():
        *parents, last = name.split(".")
        reduce(dict.__getitem__, parents, content)[last] = value
    (project / PARAMS_PATH).write_text(yaml.safe_dump(content, sort_keys=False))
