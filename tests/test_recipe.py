"""A block that is added to params.yaml stands behind the other architectures, and nothing else changes."""

import json
import re
import textwrap
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from stages.support.params import load_params
from stages.support.yaml import parse_yaml, to_yaml
from tools.common.recipes import add_architecture, with_block

from .conftest import TINY_PARAMS

RECIPE = """\
  cnn_best:
    layers:
      - Conv2D: {filters: 4, kernel_size: 3, activation: relu}
      - Flatten
      - Dense: {units: classes, activation: softmax}
    fit: {epochs: 1, batch_size: 50}
"""


@pytest.mark.parametrize("end", ["", "\n", "\n    # of two\n", "\n\n# the end\n\noverview: {}\n"])
def test_a_block_stands_behind_the_last_architecture(end: str) -> None:
    text = f"architectures: # all\n  one: {{a: 1}}\n\n  # the second\n  two:\n    b: 2{end}"
    added = with_block(text, "  three:\n    c: 3\n")
    of_two = "\n    # of two" if "of two" in end else ""
    assert f"    b: 2{of_two}\n\n  three:\n    c: 3\n" in added
    assert added.replace("\n  three:\n    c: 3\n", "").rstrip() == text.rstrip()


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_added_architecture_is_read_and_is_not_new_then(line_end: str, params: Path, capsys) -> None:
    text = TINY_PARAMS.replace("\n", line_end)
    params.write_bytes(text.encode())
    with pytest.raises(PipelineError, match="unknown name 'Flaten'; did you mean 'Flatten'"):
        add_architecture("cnn_best", RECIPE.replace("Flatten", "Flaten"))
    assert params.read_bytes().decode() == text
    add_architecture("cnn_best", RECIPE)
    assert capsys.readouterr().out == "params.yaml: added architectures.cnn_best; train it by: make repro\n"
    assert list(load_params(params).architectures) == ["mlp_256", "cnn", "cnn_best"]
    assert params.read_bytes().decode().replace(f"\n{RECIPE}", "") == text
    with pytest.raises(PipelineError, match=r"architectures.cnn_best is there already; to start anew, delete"):
        add_architecture("cnn_best", RECIPE)


@pytest.mark.parametrize(
    "text",
    [
        to_yaml(parse_yaml(TINY_PARAMS.encode(), ""), flow=True),
        json.dumps(parse_yaml(TINY_PARAMS.encode(), ""), indent=2),
        re.sub(r"(?<=\narchitectures:\n).*", lambda rest: textwrap.indent(rest[0], "  "), TINY_PARAMS, flags=re.DOTALL),
    ],
    ids=["flow style", "JSON", "four spaces"],
)
def test_a_file_in_another_style_is_left_alone(text: str, params: Path) -> None:
    params.write_text(text)
    with pytest.raises(PipelineError, match=r"nothing was written: add the block above by hand$"):
        add_architecture("cnn_best", RECIPE)
    assert params.read_text() == text
