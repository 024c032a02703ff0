"""Reads YAML strictly, as the values that DVC reads, and writes YAML that both read back.

PyYAML follows YAML 1.1, DVC YAML 1.2, in which `1e-3` is a number, and `on`, `yes` and `1:30` are text. So PyYAML
gets the patterns of ruamel.yaml, which is DVC's reader. That one itself crashes on files with deep nesting.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml.resolver import implicit_resolvers
from yaml import CSafeLoader, MappingNode, MarkedYAMLError, Node, SafeDumper, ScalarNode, SequenceNode, YAMLError

from stages.support.errors import PipelineError, one_line

MAX_BYTES = 5_000_000
MAX_DEPTH = 50  # levels of nesting
MAX_DIGITS = 100  # of an integer
MAX_NODES = 500_000  # keys and values, those that aliases repeat counted each time
WIDTH = 118  # of a line that is written

CONFLICT = b"\n<<<<<<< "  # where git writes both sides of a merge conflict
MERGE = "tag:yaml.org,2002:merge"
DIRECTIVE = re.compile(r"(?:[ \t]*(?:#.*)?\n)*%")


class _Loader(CSafeLoader):
    """PyYAML's safe loader, with the scalars of YAML 1.2 and without duplicate keys."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012

    def construct_int(self, node: ScalarNode) -> int:
        """Reads an integer; `0o` is octal, a leading zero alone is not."""
        text = self.construct_scalar(node).replace("_", "")
        sign, digits = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
        if len(digits) > MAX_DIGITS:
            raise ValueError(f"expected integers of at most {MAX_DIGITS} digits, found one of {len(digits):,}")
        base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2])
        return int(sign + (digits[2:] if base else digits), base or 10)

    def check(self, node: Node, known: dict[int, tuple[int, int] | None], level: int = 0) -> tuple[int, int]:
        """Counts nodes and levels at and below a node, aliases written out. Raises `ValueError` if too many."""
        if level > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        if id(node) not in known:
            known[id(node)] = None
            children = [] if isinstance(node, ScalarNode) else node.value
            if isinstance(node, MappingNode):
                self._check_keys([key for key, _ in node.value])
                children = [child for pair in node.value for child in pair]
            counts = [self.check(child, known, level + 1) for child in children]
            known[id(node)] = 1 + sum(nodes for nodes, _ in counts), 1 + max((level for _, level in counts), default=0)
        if (counted := known[id(node)]) is None:
            raise ValueError("an alias stands for something that holds the alias")
        nodes, levels = counted
        if nodes > MAX_NODES or levels > MAX_DEPTH:
            raise ValueError(f"more than {MAX_NODES:,} keys and values or {MAX_DEPTH} levels, with aliases written out")
        return nodes, levels

    def _check_keys(self, nodes: list[Node]) -> None:
        """Raises `MarkedYAMLError` for a key that occurs twice, or that is a mapping or list."""
        seen = set()
        for node in nodes:
            if not isinstance(node, ScalarNode):
                raise MarkedYAMLError(problem="expected a simple key", problem_mark=node.start_mark)
            key = node.value if node.tag == MERGE else self.construct_object(node)
            if key in seen:
                raise MarkedYAMLError(problem=f"duplicate key {key!r}", problem_mark=node.start_mark)
            seen.add(key)

    def flatten_mapping(self, node: MappingNode) -> None:
        """Puts keys that `<<` merges before the mapping's own, which override them. The first merged wins."""
        merged, own = [], []
        for key, value in node.value:
            if key.tag != MERGE:
                own.append((key, value))
                continue
            for mapping in reversed(value.value if isinstance(value, SequenceNode) else [value]):
                if not isinstance(mapping, MappingNode):
                    raise MarkedYAMLError(problem="expected a mapping to merge", problem_mark=mapping.start_mark)
                self.flatten_mapping(mapping)
                merged += mapping.value
        node.value = merged + own


class _Dumper(SafeDumper):
    """PyYAML's safe dumper. Quotes text that YAML 1.1 or 1.2 reads as another type, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


for _versions, _tag, _pattern, _first in implicit_resolvers:
    if (1, 2) in _versions:
        for _class in (_Loader, _Dumper):
            _class.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)


def read_yaml(path: Path) -> Any:
    """Reads a YAML file. Raises `PipelineError` if it is not valid, and `OSError` if it cannot be read."""
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(content: bytes, name: str) -> Any:
    """Reads a YAML document in UTF-8.

    Raises `PipelineError`, which begins with `name`, if it is not valid YAML, if a key occurs twice in a mapping, or
    if it is larger than any file of this project.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found {len(content):,}")
        text = content.decode("utf-8-sig")
        if DIRECTIVE.match(text):
            raise ValueError("directives such as %YAML are not supported; remove the line")
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        loader.check(node, {})
        return loader.construct_document(node)
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = (
            f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"
            if mark
            else one_line(error)
        )
        if CONFLICT in content:
            line = content.count(b"\n", 0, content.index(CONFLICT)) + 2
            where = f"line {line}: a merge conflict; resolve it, then rerun"
        raise PipelineError(f"{name}: not valid YAML: {where}") from error


def to_yaml(value: Any, flow: bool | None = None) -> str:
    """Returns YAML from which `parse_yaml` and DVC read the same value.

    Args:
        value: of mappings, lists and scalars.
        flow: whether all of it is in flow style, in `{}` and `[]`; by default only what holds no mapping or list.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, width=WIDTH)
