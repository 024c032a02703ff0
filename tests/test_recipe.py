"""`make recipe` adds a block to params.yaml, and nothing else changes."""

import pytest

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.support.params import load_params
from tools.common.recipes import with_block
from tools.recipe.__main__ import FOLDER

from .conftest import ROOT, Project

MNIST = Dataset(dataset="MNIST", classes=10, image=(28, 28, 1), count=60_000)
RECIPES = sorted(path.stem for path in (ROOT / FOLDER).glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_added_once_and_can_be_built(name: str, project: Project) -> None:
    path = project.path / "params.yaml"
    before, names = path.read_text(), list(load_params(path).architectures)
    done = project.run("python", "-m", "tools.recipe", name)
    assert f"added architectures.{name}" in done.stdout
    block = (ROOT / FOLDER / f"{name}.yaml").read_text()
    assert path.read_text().replace(block, "").split() == before.split()
    params = load_params(path)
    assert list(params.architectures) == [*names, name]
    assert build_model(name, params.architecture(name), MNIST).output_shape == (None, 10)

    again = project.run("python", "-m", "tools.recipe", name, check=False)
    assert again.returncode == 1
    assert again.stderr.startswith(f"error: params.yaml: architectures.{name} is there already")


def test_an_unknown_recipe_is_one_line(project: Project) -> None:
    before = (project.path / "params.yaml").read_text()
    done = project.run("python", "-m", "tools.recipe", "cnn_bets", check=False)
    assert done.returncode == 1
    assert done.stderr == "error: docs/recipes: no recipe 'cnn_bets'; did you mean 'cnn_best'?\n"
    assert (project.path / "params.yaml").read_text() == before


@pytest.mark.parametrize("end", ["", "\n", "\n# the end\n\n", "\nensembles: {}\n"])
def test_a_block_stands_behind_the_last_architecture(end: str) -> None:
    text = f"architectures:\n  one: {{a: 1}}\n\n  # the second\n  two:\n    b: 2{end}"
    added = with_block(text, "  three:\n    c: 3\n")
    assert "    b: 2\n\n  three:\n    c: 3\n" in added.replace("\n# the end\n", "\n").replace("\n\n\n", "\n\n")
    assert added.replace("  three:\n    c: 3\n", "").split() == text.split()
