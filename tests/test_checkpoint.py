"""A training that is cut goes on where it was, to the same bytes."""

import json
from pathlib import Path

import numpy as np

from .conftest import Project

EPOCHS, CUT_AFTER = 6, 3
SAVE = "        checkpoint.save(model, history)\n"
COUNT_AND_CUT = f"""\
        import os
        with Path("saves").open("a") as saves:
            saves.write(".")
            if saves.tell() == {CUT_AFTER} and Path("cut").exists():
                os.kill(os.getpid(), 9)
"""
LAYERS = [
    {"RandomRotation": {"factor": 0.1}},
    {"Conv2D": {"filters": 4, "kernel_size": 3}},
    "BatchNormalization",
    "Flatten",
    {"Dropout": {"rate": 0.5}},
    {"Dense": {"units": "classes", "activation": "softmax"}},
]
OPTIMIZER = {"AdamW": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.01}}, "use_ema": True}}
RESULTS = ("data/models/mlp_256/10.keras", "data/models/mlp_256/summary.txt", "data/models/mlp_256/10.csv")


def train(project: Project) -> int:
    """Trains; returns after how many epochs a checkpoint was saved."""
    saves = project.path / "saves"
    saves.write_text("")
    project.run("dvc", "repro", "train@mlp_256", check=False)
    return saves.stat().st_size


def results(project: Project) -> list[bytes]:
    return [(project.path / path).read_bytes() for path in RESULTS]


def test_a_killed_training_goes_on_to_the_same_bytes(project: Project, tmp_path: Path) -> None:
    edited = {"layers": LAYERS, "compile": {"optimizer": OPTIMIZER}}
    project.edit(lambda params: params["architectures"]["mlp_256"].update(edited))
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=EPOCHS))
    module = project.path / "stages/models/training.py"
    module.write_text(module.read_text().replace(SAVE, SAVE + COUNT_AND_CUT))
    uninterrupted = project.clone(tmp_path / "uninterrupted")
    assert train(uninterrupted) == EPOCHS

    (project.path / "cut").touch()
    assert train(project) == CUT_AFTER
    (project.path / "cut").unlink()
    (other := project.path / ".checkpoints/cnn/10.npz").parent.mkdir()
    other.touch()  # of an architecture that is still being trained
    with np.load(project.path / ".checkpoints/mlp_256/10.npz") as checkpoint:
        assert max(epoch for epoch, *_ in json.loads(str(checkpoint["history"]))) == CUT_AFTER
    assert train(project) == EPOCHS - CUT_AFTER
    assert results(project) == results(uninterrupted)
    assert list(project.path.glob(".checkpoints/*/*")) == [other], "the checkpoint goes, and no other"
    assert not project.run("git", "status", "--porcelain", ".checkpoints").stdout
