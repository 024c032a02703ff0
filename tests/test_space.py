"""Search spaces: what stands for a value, what is refused, what a trial gets."""

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from stages.support.errors import PipelineError
from stages.support.yaml import parse_yaml
from tools.sweep.report import block_text
from tools.sweep.space import Options, Space, ends

from .conftest import TINY_PARAMS

SPACE = """\
found:
  layers:
    - choice:
        - []
        - - Conv2D: {filters: {range: [2, 4]}, kernel_size: {choice: [3, 20]}}
          - Activation: {activation: relu}
    - Flatten
    - Dense: {units: classes, activation: softmax}
  compile: {optimizer: {Adam: {learning_rate: {range: [1e-3, 1e-1], log: true}}}}
  fit: {epochs: 2, batch_size: 50, validation_split: 0.2, class_weight: {1: {choice: [1.0, 1.5]}, 9: 1.5}}
"""
SIMPLE = """\
found:
  layers: [Flatten, {Dense: {units: classes, activation: softmax}}]
  compile: {optimizer: {SGD: {learning_rate: {range: [0.1, 1.0]}}}}
  fit: {epochs: 3, batch_size: 50, validation_split: 0.2}
"""
TINY = parse_yaml(TINY_PARAMS.encode(), "")


def read(text: str, folder: Path) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return Space.read(path)


def first(_: str, options: Options) -> Any:
    return ends(options)[0]


def last(_: str, options: Options) -> Any:
    return ends(options)[-1]


def test_each_choice_and_range_gets_a_value_by_its_path(tmp_path: Path) -> None:
    space = read(SPACE, tmp_path)
    paths: dict[str, Options] = {}

    def pick(path: str, options: Options) -> Any:
        paths[path] = options
        return ends(options)[-1]

    dense = {"Dense": {"units": "classes", "activation": "softmax"}}
    block = space.filled(pick)
    assert block == {
        "layers": [
            {"Conv2D": {"filters": 4, "kernel_size": 20}},
            {"Activation": {"activation": "relu"}},
            "Flatten",
            dense,
        ],
        "compile": {"optimizer": {"Adam": {"learning_rate": 0.1}}},
        "fit": {"epochs": 2, "batch_size": 50, "validation_split": 0.2, "class_weight": {1: 1.5, 9: 1.5}},
    }
    assert paths == {
        "layers[0]": CategoricalDistribution(["0:", "1: Conv2D …"]),
        "layers[0].choice[1][0].Conv2D.filters": IntDistribution(2, 4),
        "layers[0].choice[1][0].Conv2D.kernel_size": CategoricalDistribution([3, 20]),
        "compile.optimizer.Adam.learning_rate": FloatDistribution(0.001, 0.1, log=True),
        "fit.class_weight.1": CategoricalDistribution([1.0, 1.5]),
    }
    assert space.filled(first)["layers"] == ["Flatten", dense]
    assert space.alone(TINY, block, 3) == TINY | {
        "train": {"seeds": [3], "kernels": "portable"},
        "architectures": {"found": block},
    }
    text = block_text("found", block)
    assert parse_yaml(text.encode(), "") == {"found": block}
    assert "    - Conv2D: {filters: 4, kernel_size: 20}\n" in text


@pytest.mark.parametrize(
    ("limits", "picked", "value"),
    [
        ("[0.12345, 9.8765]", 0.12346, 0.12345),  # not 0.123, which is less than the least
        ("[0.12345, 9.8765]", 1.23456, 1.23),
        ("[0.12345, 9.8765]", 9.8764, 9.8765),
        ("[1000, 99999]", 12345, 12345),
        ("[-2, 99999.0]", -1.2345, -1.23),
    ],
)
def test_numbers_with_a_point_are_rounded(limits: str, picked: float, value: float, tmp_path: Path) -> None:
    space = read(SIMPLE.replace("[0.1, 1.0]", limits), tmp_path)
    assert space.filled(lambda *_: picked)["compile"]["optimizer"]["SGD"]["learning_rate"] == value


def test_a_chosen_branch_stays_a_branch(tmp_path: Path) -> None:
    branches = "[{choice: [[], [{Activation: {activation: relu}}]]}, []]"
    space = read(SIMPLE.replace("[Flatten,", f"[{{Add: {{branches: {branches}}}}}, Flatten,"), tmp_path)
    space.check(TINY)
    assert space.filled(last)["layers"][0]["Add"]["branches"] == [[{"Activation": {"activation": "relu"}}], []]


SIZE = "found.layers[0].choice[1][0].Conv2D.kernel_size"
TWO = f"{SIZE}: expected {{choice: [two or more options]}}, found "
LIMITS = "expected {range: [low, high]} of numbers, or {range: [low, high], log: true} of numbers above 0, found "
FILTERS, RATE = "found.layers[0].choice[1][0].Conv2D.filters: ", "found.compile.optimizer.Adam.learning_rate: "


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[3, 20]", "[3]", TWO),
        ("[3, 20]}", "[3, 20], log: true}", TWO),
        ("[3, 20]", "[3, three]", "found.layers[0].Conv2D.kernel_size: expected"),
        ("[3, 20]", "[{choice: [3, three]}, 20]", "found.layers[0].Conv2D.kernel_size: expected"),
        ("[3, 20]", "[3, {range: [5, 4]}]", f"{SIZE}.choice[1]: {LIMITS}"),
        ("[2, 4]", "[4, 2]", FILTERS + LIMITS),
        ("[2, 4]", "[two, 4]", FILTERS + LIMITS),
        ("[2, 4]", "[2, .inf]", "filters: expected"),
        ("log: true", "steps: 2", RATE + LIMITS),
        ("1e-3", "0", RATE + LIMITS),
        ("1e-3", ".nan", RATE),
        ("Activation:", "Aktivation:", "unknown name 'Aktivation'; did you mean 'Activation'?"),
        (", validation_split: 0.2", "", "found.fit.validation_split: expected more than 0, as trials are compared on"),
        ("found:", "a: {}\nfound:", "expected one architecture, as in params.yaml, such as 'my_cnn: {layers: …"),
        (SPACE, "- found\n", "expected one architecture, as in params.yaml"),
        (SPACE, SIMPLE.replace("{range: [0.1, 1.0]}", "0.1"), "in place of a value, found none"),
        ("found:", "7:", "7: expected text, found the int 7; put it in quotes"),
    ],
)
def test_a_mistake_in_any_option_is_one_line(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in SPACE
    with pytest.raises(PipelineError) as error:
        read(SPACE.replace(before, after), tmp_path).check(TINY)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'space.yaml'}: ")
    assert message in line
    assert "\n" not in line
