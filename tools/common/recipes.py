"""Adds architectures to params.yaml, as text; the rest of it stays as it is."""

import re
import tempfile
from pathlib import Path

from stages.common.files import write_text
from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH, load_params

ARCHITECTURES = re.compile(r"^architectures:.*\n(?:(?:[ \t#].*)?\n)*", re.MULTILINE)


def check_is_new(name: str) -> None:
    """Raises `PipelineError` if params.yaml has an architecture of that name."""
    if name in load_params().architectures:
        raise PipelineError(
            f"{PARAMS_PATH}: architectures.{name} is there already; to start anew, delete its block first"
        )


def with_block(text: str, block: str) -> str:
    """The text of a params.yaml with a block behind its last architecture."""
    text = f"{text.rstrip()}\n"
    found = ARCHITECTURES.search(text)
    if not found:
        raise PipelineError(f"{PARAMS_PATH}: architectures: expected a block of indented lines; add the recipe by hand")
    end = found.start() + len(found[0].rstrip())
    return f"{text[:end]}\n\n{block.rstrip()}{text[end:]}"


def add_architecture(name: str, block: str) -> None:
    """Writes a block into params.yaml. Raises `PipelineError`, and writes nothing, if that would not be valid."""
    check_is_new(name)
    text = with_block(PARAMS_PATH.read_text(encoding="utf-8"), block)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / PARAMS_PATH.name
        trial.write_text(text, encoding="utf-8")
        load_params(trial)
    write_text(PARAMS_PATH, text)
    print(f"{PARAMS_PATH}: added architectures.{name}; train it by: make repro")
