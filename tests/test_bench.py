"""`make bench`: how figures are computed, not what they are."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.models import import_keras
from stages.support.params import load_params
from stages.support.yaml import read_yaml
from tools.bench.loop import flops
from tools.bench.parts import _many, _small
from tools.bench.table import page

from .conftest import ROOT, TUTORIALS

if TYPE_CHECKING:
    import keras

MNIST = Dataset("MNIST", 10, (28, 28, 1), count=60_000)
MACHINE = {"machine": {"cores": [2], "bandwidth": [1e10]}}
CONVOLUTION, DENSE = 9 * 32 * 28 * 28, 6272 * 256 + 256 * 10


@pytest.mark.parametrize(
    ("name", "forward", "step"),
    [
        ("mlp_1000", 2 * (784 * 1000 + 1000 * 10), 4 * 784 * 1000 + 6 * 1000 * 10),
        ("cnn", 2 * (CONVOLUTION + DENSE), 4 * CONVOLUTION + 6 * DENSE),
    ],
)
def test_the_operations_of_a_training_are_counted(name: str, forward: int, step: int) -> None:
    model = build_model(name, load_params(TUTORIALS).architecture(name), MNIST)
    assert flops(model) == (forward, step)


@pytest.mark.parametrize("name", list(load_params(TUTORIALS).architectures))
def test_the_rival_trains_the_same_net(name: str) -> None:
    ours = build_model(name, load_params(TUTORIALS).architecture(name), MNIST)
    import_keras()
    from tools.bench.tutorial import build

    theirs = build(name)
    assert [weight.shape for weight in theirs.weights] == [weight.shape for weight in ours.weights]
    assert type(theirs.optimizer) is type(ours.optimizer)
    for our, their in zip(ours.layers[-2:], theirs.layers[-2:], strict=True):
        assert [each.get_config() for each in initializers(our)] == [each.get_config() for each in initializers(their)]


def initializers(layer: "keras.Layer") -> list["keras.Initializer"]:
    return [layer.kernel_initializer] if layer.weights else []


def test_a_figure_is_a_ratio_of_medians_and_marked_if_missed() -> None:
    raw = {"stages": [20.0], "nothing": [1.0, 2.0, 9.0], "bare": [2.0], "alike": [2.5], "undo": [5.0]}
    raw |= {"make repro, nothing": [1.0], "reports, make repro": [4.0], "reports, dvc repro": [9.0]}
    lines = page(MACHINE | {"overhead": raw}).splitlines()
    assert "| ÷ bare DVC on 20 trivial stages | 1.00 | ≤ 1.15 | ✓ |" in lines
    assert "| an edit undone: `dvc repro` ÷ nothing changed | 2.50 | ≤ 2 | missed |" in lines


@pytest.mark.parametrize(("seeds", "told"), [(1, "| 2.00 | ≤ 0.5 | missed |"), (3, "| 2.00 | ≤ 1 | missed |")])
def test_a_clean_run_of_all_seeds_is_compared_with_the_scripts(seeds: int, told: str) -> None:
    raw = {"seeds": [seeds], "clean": [80.0], "script cnn": [40.0], "edited cnn": [30.0]}
    lines = page(MACHINE | {"full": raw}).splitlines()
    assert f"| seeds | {seeds} |  |  |" in lines
    assert f"| clean full run ÷ the 1 scripts {told}" in lines
    assert "| `cnn` edited, one seed, `make repro` ÷ its script: 30 s ÷ 40 s | 0.75 | ≤ 0.9 | ✓ |" in lines


def test_configurations_of_small_architectures_have_one_seed(tmp_path: Path) -> None:
    for change, architectures in ((_small, 6), (lambda params: _many(params, 24), 24)):
        content = read_yaml(TUTORIALS)
        change(content)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        params = load_params(tmp_path / "params.yaml")
        assert (len(params.architectures), params.train.seeds) == (architectures, [10])


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    raw = json.loads((ROOT / "bench/results.json").read_text())
    assert (ROOT / "bench/results.md").read_text(encoding="utf-8") == page(raw)
