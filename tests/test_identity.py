"""The identity of a training covers all that decides its bytes, and nothing else; by it, no training runs twice."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.models import identity
from stages.models.identity import code, identities
from stages.support.architecture import Architecture

from .conftest import ROOT, Project
from .faults import copy_in_cache, outputs

LAYERS = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]


def architecture(**fit: object) -> Architecture:
    return Architecture.model_validate({"layers": LAYERS, "fit": {"epochs": 2, "batch_size": 4, **fit}})


def test_it_covers_the_recipe_the_seed_the_data_and_the_kernels(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    for file in ("images.npy", "labels.npy"):
        np.save(tmp_path / file, np.zeros(3))

    def of(name: str = "a", seed: int = 10, **fit: object) -> str:
        return identities(name, architecture(**fit), "portable", tmp_path, [seed])[seed]

    first = of()
    assert of() == first
    differing = [of("b"), of(seed=11), of(epochs=3), of(validation_split=0.5), of(class_weight={0: 2.0})]
    monkeypatch.setattr(identity, "kernels_identity", lambda kernels: f"{kernels} of another machine")
    differing.append(of())
    monkeypatch.undo()
    for file in ("images.npy", "labels.npy"):
        np.save(tmp_path / file, np.ones(3))
        differing.append(of())
    (tmp_path / "dataset.json").write_text('{"classes": 2}')
    differing.append(of())
    assert len({first, *differing}) == 1 + len(differing)


EDITS = {  # of a file in stages/: what is put in the place of what, and whether it decides bytes
    "a comment": ("models/building.py", "\n\n\nclass Builder", "\n\n\n# a comment\nclass Builder", False),
    "a docstring": ("models/building.py", '"""Builds Keras models', '"""Makes Keras models', False),
    "layout": ("common/files.py", "import os\n", "import os\n\n\n", False),
    "a module that decides nothing": ("support/params.py", "MOST_MODELS = ", "MANY = 1\nMOST_MODELS = ", False),
    "code of the results": ("results/tables.py", "import numpy as np\n", "import numpy as np\nMANY = 1\n", False),
    "a comment beside a pin": ("models/requirements.txt", "# trains", "# trains quickly", False),
    "code": ("models/building.py", "count * (1 - fit", "count * (2 - fit", True),
    "a text that is no docstring": ("models/defaults.py", '"Adam"', '"SGD"', True),
    "code that all stages share": ("common/kernels.py", '"AVX2"', '"AVX"', True),
    "the stage itself": ("train.py", "sorted(params.train.seeds)", "params.train.seeds", True),
    "a pin": ("models/requirements.txt", "keras==3", "keras==4", True),
    "a pin of NumPy": ("common/requirements.txt", "numpy==2", "numpy==3", True),
}


@pytest.mark.parametrize(("path", "old", "new", "decides"), EDITS.values(), ids=EDITS)
def test_it_covers_code_and_pins_read_as_code(path: str, old: str, new: str, decides: bool, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    before, file = code(tmp_path / "stages"), tmp_path / "stages" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert (code(tmp_path / "stages") != before) == decides


def summary(output: str) -> dict[str, str]:
    """What each train stage printed that it did."""
    return dict(re.findall(r"^(\w+): (trained .*|the same .*)$", output, re.MULTILINE))


def test_a_new_seed_trains_that_seed_alone_and_order_a_comment_or_fewer_seeds_train_none(project, seeded) -> None:
    project.edit(lambda params: params["train"].update(seeds=[11, 10]))
    did = summary(project.repro().output)
    assert did == dict.fromkeys(("mlp_256", "cnn"), "trained with seed 11; the same as before with seed 10")
    assert outputs(project) == outputs(seeded)

    module = project.path / "stages/models/building.py"
    module.write_text(f"{module.read_text()}# a comment\n")
    for seeds, same in ([10, 11], "seeds 10, 11"), ([11], "seed 11"):
        project.edit(lambda params, seeds=seeds: params["train"].update(seeds=seeds))
        did = summary(project.repro("evaluate@cnn").output)
        assert did == {"cnn": f"the same as before with {same}"}
        assert json.loads((project.path / "metrics/predictions/cnn.json").read_bytes())["seeds"] == seeds


@pytest.mark.parametrize("file", ["10.keras", "10.csv", "identities.json", "summary.txt"])
def test_what_is_damaged_in_the_cache_is_trained_again(project: Project, file: str, built_project: Project) -> None:
    copy = copy_in_cache(project, f"data/models/cnn/{file}")
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-1])
    module = project.path / "stages/train.py"
    module.write_text(f"{module.read_text()}# a comment\n")
    assert summary(project.repro("train@cnn").output) == {"cnn": "trained with seed 10"}
    model = "data/models/cnn/10.keras"
    assert (project.path / model).read_bytes() == (built_project.path / model).read_bytes()


def test_train_anew_trains(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_ANEW", "1")
    did = summary(project.repro("--force", "--single-item", "train@cnn").output)
    assert did == {"cnn": "trained with seed 10"}
