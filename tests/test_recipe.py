"""A block that is added to params.yaml is indented as it is there, and nothing else changes."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.support.errors import PipelineError
from stages.support.params import load_params
from stages.support.yaml import parse_yaml, read_yaml, to_yaml
from tools.common.recipes import add_architecture, with_block

from .conftest import TINY_PARAMS

TINY = parse_yaml(TINY_PARAMS.encode(), "TINY_PARAMS")
NAME = "three"
BLOCK = """\
  three:
    # a comment
    layers:
      - Add:
          branches:
            - []
            - - Conv2D: {filters: 1, kernel_size: 3, padding: same}
      - Flatten
      - Dense: {units: classes, activation: softmax}
    fit: {epochs: 1, batch_size: 50, class_weight: {8: 1e-5}}
"""


@pytest.mark.parametrize("end", ["", "\n    # of two\n", "\n# the end\n\noverview: {}\n...\n"])
def test_a_block_stands_behind_the_last_architecture(end: str) -> None:
    text = f"architectures:\n  one: {{a: 1}}\n\n  # the second\n  two:\n    b: 2{end}"
    added = with_block(text, "  three:\n    c: 3\n")
    of_two = "\n    # of two" if "of two" in end else ""
    assert f"    b: 2{of_two}\n\n  three:\n    c: 3\n" in added
    assert added.replace("  three:\n    c: 3\n", "").split() == text.split()


def indented(text: str, **indent: int) -> str:
    """A params.yaml with other indentation, as ruamel.yaml writes it."""
    yaml, stream = YAML(), io.StringIO()
    yaml.indent(**indent)
    yaml.dump(yaml.load(text), stream)
    return stream.getvalue()


FORMS: dict[str, Callable[[str], str]] = {
    "four spaces": lambda text: indented(text, mapping=4, sequence=6, offset=4),
    "one space": lambda text: indented(text, mapping=1, sequence=2, offset=0),
    "tabs in comments": lambda text: "#\t of\ttabs\n" + text.replace(": ", ":\t").replace("\n", "\t#\tx\n"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "a quoted key and an anchor": lambda text: text.replace("architectures:", '"architectures": &nets'),
    "each in flow style": lambda text: text.partition("  mlp_256:")[0] + "    cnn: {layers: [Flatten]} # 🙂",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_block_is_indented_as_the_file_is(form: str) -> None:
    text = FORMS[form](TINY_PARAMS)
    added = with_block(text, BLOCK)
    before, after = (parse_yaml(content.encode(), form) for content in (text, added))
    assert after["architectures"].pop(NAME) == parse_yaml(BLOCK.encode(), form)[NAME]
    assert after == before
    lines = iter(added.splitlines())
    assert all(line in lines for line in text.splitlines()), "another line has changed"
    assert ("\r\n" in added) == ("\r\n" in text)
    columns = {line.split(":")[0].strip(): len(line) - len(line.lstrip()) for line in added.splitlines()}
    assert columns[NAME] == columns["cnn"]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


@pytest.mark.parametrize("text", [to_yaml(TINY, flow=True), json.dumps(TINY, indent=2)], ids=["flow style", "JSON"])
def test_in_flow_style_a_block_is_printed_to_be_pasted(text: str, params: Path, capsys) -> None:
    params.write_text(text)
    with pytest.raises(PipelineError, match="flow style; nothing was written: paste the text above behind the opening"):
        add_architecture(NAME, BLOCK)
    assert params.read_text() == text
    place = text.index("{", text.index("architectures")) + 1
    params.write_text(text[:place] + capsys.readouterr().out + text[place:])
    assert list(load_params(params).architectures) == [NAME, "mlp_256", "cnn"]
    assert read_yaml(params)["architectures"][NAME] == parse_yaml(BLOCK.encode(), "")[NAME]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  mlp_256:\n", "  ? mlp_256\n  :\n", "nothing was written: paste the text above into architectures"),
        ("  cnn:", "  Three:", "^params.yaml: architectures.three: the same file name as 'Three' on macOS"),
    ],
)
def test_where_a_block_cannot_be_added_the_file_is_left_alone(
    old: str, new: str, line: str, params: Path, capsys
) -> None:
    text = TINY_PARAMS.replace(old, new)
    params.write_text(text)
    with pytest.raises(PipelineError, match=line):
        add_architecture(NAME, BLOCK)
    assert params.read_text() == text
    assert capsys.readouterr().out in (f"{BLOCK}\n", "")
