"""Adds architectures to params.yaml, as text; the rest of it stays as it is."""

import re

import yaml

from stages.common.files import write_text
from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH, load_params, parse_params
from stages.support.yaml import parse_yaml, to_yaml

KEY = "architectures"


def check_is_new(name: str) -> None:
    """Raises `PipelineError` if params.yaml has an architecture of that name."""
    if name in load_params().architectures:
        raise PipelineError(f"{PARAMS_PATH}: {KEY}.{name} is there already; to start anew, delete its block first")


def add_architecture(name: str, block: str) -> None:
    """Writes a block into params.yaml, indented as the file is.

    Where that cannot be done, as in flow style, prints the block for the user to paste, and raises `PipelineError`. It
    also raises `PipelineError` if the result would not be valid. The file is left alone then.
    """
    check_is_new(name)
    text = PARAMS_PATH.read_bytes().decode()  # with its line ends
    added = with_block(text, block)
    if added is None:
        node = _architectures(text)
        style, where = "text that it cannot be added to", "into"
        if node and node.flow_style:
            style, where = "flow style", "behind the opening brace of"
            block = to_yaml(parse_yaml(block.encode(), name), flow=True).strip()[1:-1] + ","
        print(block)
        expected = f"{PARAMS_PATH}: {KEY}: expected a block of indented lines, found {style}"
        raise PipelineError(f"{expected}; nothing was written: paste the text above {where} {KEY}")
    parse_params(added.encode(), str(PARAMS_PATH))
    write_text(PARAMS_PATH, added)
    print(f"{PARAMS_PATH}: added {KEY}.{name}; train it by: make repro")


def with_block(text: str, block: str) -> str | None:
    """Puts a block behind the last architecture of a params.yaml, indented as the first one is.

    Returns:
        The text, or `None` if it cannot be put there as text, without a change of anything else.
    """
    node = _architectures(text)
    if node is None or node.flow_style:
        return None
    step = node.value[0][0].start_mark.column
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    end = _next_line(text, node.end_mark.index)
    while re.match(r"[ \t]+#", text[end:]):  # a comment in the last architecture
        end = _next_line(text, end)
    line_end = "\r\n" if "\r\n" in text else "\n"
    before = text[:end] if text[:end].endswith("\n") else text[:end] + line_end
    added = before + "".join(line + line_end for line in ["", *_indented(block.rstrip(), step)]) + text[end:]
    return added if _adds(text, added, block) else None


def _architectures(text: str) -> yaml.MappingNode | None:
    """Finds the node of the architectures, with its place in the text."""
    root = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.CSafeLoader)
    return next((value for key, value in root.value if key.value == KEY), None)


def _next_line(text: str, index: int) -> int:
    return text.find("\n", index) + 1 or len(text)


def _indented(block: str, step: int) -> list[str]:
    """Indents the lines of a block, with `step` spaces for each level, the first one included."""
    lines = []
    levels: list[tuple[int, int]] = []  # the columns of each level in the block, and those that it gets
    for line in block.splitlines():
        content = line.lstrip(" ")
        column = len(line) - len(content)
        while levels and levels[-1][0] > column:
            levels.pop()
        if not levels or levels[-1][0] < column:
            levels.append((column, step + (levels[-1][1] if levels else 0)))
        lines.append(" " * levels[-1][1] + content if content else "")
        while content.startswith("- "):  # what stands behind the dash is a level, too
            content = content.removeprefix("- ")
            levels.append((levels[-1][0] + 2, levels[-1][1] + 2))
    return lines


def _adds(text: str, added: str, block: str) -> bool:
    """Whether the content of a file gets the block, and nothing else changes."""
    try:
        before, after, new = (parse_yaml(part.encode(), "") for part in (text, added, block))
    except PipelineError:
        return False
    return repr({**before, KEY: {**before[KEY], **new}}) == repr(after)
