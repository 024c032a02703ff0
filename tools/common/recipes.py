"""Adds architectures to params.yaml, as text; the rest of it stays as it is."""

import re

from stages.common.files import write_text
from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH, load_params, parse_params
from stages.support.yaml import parse_yaml

KEY = "architectures"
SECTION = re.compile(rf"^{KEY}:.*\n(?:\s*\n| .*\n)* .*\n", re.MULTILINE)  # to its last indented line


def check_is_new(name: str) -> None:
    """Raises `PipelineError` if params.yaml has an architecture of that name."""
    if name in load_params().architectures:
        raise PipelineError(f"{PARAMS_PATH}: {KEY}.{name} is there already; to start anew, delete its block first")


def add_architecture(name: str, block: str) -> None:
    """Writes a block, indented by two spaces, into params.yaml.

    Raises `PipelineError` where it does not fit, as in flow style, or would not be valid. The file is left alone then.
    """
    check_is_new(name)
    added = with_block(PARAMS_PATH.read_bytes().decode(), block)
    if added is None:
        expected = f"{PARAMS_PATH}: {KEY}: expected a block of lines, indented by two spaces, found another style"
        raise PipelineError(f"{expected}; nothing was written: add the block above by hand")
    parse_params(added.encode(), str(PARAMS_PATH))
    write_text(PARAMS_PATH, added)
    print(f"{PARAMS_PATH}: added {KEY}.{name}; train it by: make repro")


def with_block(text: str, block: str) -> str | None:
    """Puts a block behind the last architecture of a params.yaml; returns `None` if it does not fit there."""
    text = text if text.endswith("\n") else f"{text}\n"
    added = SECTION.sub(lambda section: f"{section[0]}\n{block.rstrip()}\n", text, count=1)
    try:
        before, after, new = (parse_yaml(part.encode(), "") for part in (text, added, block))
    except PipelineError:
        return None
    return added if {**before, KEY: {**before[KEY], **new}} == after else None
