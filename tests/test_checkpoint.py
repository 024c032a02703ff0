"""A training that is cut goes on where it was, to the same bytes; but only if it is the same training."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.models import checkpoint
from stages.models.checkpoint import training_identity
from tools.common.surroundings import QEMU, another_processor

from .conftest import ROOT, Project

EPOCHS, CUT_AFTER = 8, 3
# What Python imports at its start if it is on the path: kills the training as it is about to put a checkpoint in place
KILL = f"""\
import os, signal, sys
kept = []
def audit(event, arguments):
    if event == "os.rename" and ".checkpoints" in str(arguments[1]):
        kept.append(arguments[1])
        if len(kept) > {CUT_AFTER}:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(audit)
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
RESULTS = ("data/models/mlp_256/10.keras", "data/models/mlp_256/10.txt", "plots/history/mlp_256.csv")


@pytest.fixture(scope="module")
def long_training(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project with a longer training in params.yaml, which has not run. Not to be changed: clone it."""
    project = built_project.clone(tmp_path_factory.mktemp("long") / "project")
    edited = {"layers": LAYERS, "compile": {"optimizer": OPTIMIZER}}
    project.edit(lambda params: params["architectures"]["mlp_256"].update(edited))
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=EPOCHS))
    return project


@pytest.fixture(scope="module")
def cut(long_training: Project) -> Project:
    """The same, killed some epochs into the training. Not to be changed: clone it."""
    project = long_training.clone(long_training.path.parent / "cut")
    (folder := long_training.path.parent / "kill").mkdir()
    (folder / "sitecustomize.py").write_text(KILL)
    environment = project.ordinary.environment | {"PYTHONPATH": str(folder)}
    done = subprocess.run(["dvc", "repro", "train@mlp_256-10"], cwd=project.path, env=environment, capture_output=True)
    assert done.returncode != 0
    return project


def results(project: Project) -> list[bytes]:
    return [(project.path / path).read_bytes() for path in RESULTS]


def test_a_killed_training_goes_on_to_the_same_bytes(long_training, cut, tmp_path) -> None:
    uninterrupted, project = long_training.clone(tmp_path / "uninterrupted"), cut.clone(tmp_path / "cut")
    assert "resuming after epoch" not in uninterrupted.repro("train@mlp_256-10").output

    resumed = project.repro("train@mlp_256-10")
    assert f"resuming after epoch {CUT_AFTER} of {EPOCHS}, from .checkpoints/mlp_256/10.npz" in resumed.output
    assert results(project) == results(uninterrupted)
    assert not list(project.path.glob(".checkpoints/*/*")), "the checkpoint outlives the success"
    assert not project.run("git", "status", "--porcelain", ".checkpoints").stdout


@pytest.mark.skipif(not shutil.which(QEMU), reason="emulates another processor: apt install qemu-user")
def test_another_processor_takes_a_training_for_the_same(tmp_path: Path) -> None:
    """So it goes on where another was killed; that it computes the same bytes is what `make verify` proves."""
    code = (
        "import stages.train; from stages.models.checkpoint import training_identity;"
        "from stages.common.kernels import kernels_identity; print(training_identity(kernels_identity('portable'), []))"
    )
    (emulated,) = another_processor("emulated", tmp_path, "EPYC-Rome").commands
    here, there = (
        subprocess.run([python, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True).stdout
        for python in (sys.executable, emulated / "python")
    )
    assert here == there


def test_a_training_with_other_params_starts_anew(cut, tmp_path) -> None:
    project = cut.clone(tmp_path / "project")
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=2))
    assert "resuming after epoch" not in project.repro("train@mlp_256-10").output


def test_a_damaged_checkpoint_is_passed_over(cut, tmp_path) -> None:
    project = cut.clone(tmp_path / "project")
    path = project.path / ".checkpoints/mlp_256/10.npz"
    path.write_bytes(path.read_bytes()[:-100])
    done = project.run("dvc", "repro", "train@mlp_256-10")
    assert (
        ".checkpoints/mlp_256/10.npz: cannot read this checkpoint; training starts from the first epoch" in done.stderr
    )
    assert "resuming after epoch" not in done.stdout


def test_the_identity_covers_params_data_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "x_train.npy"
    data.write_bytes(b"data")
    identity = training_identity("params", [data])
    assert training_identity("params", [data]) == identity
    assert training_identity("other params", [data]) != identity
    data.write_bytes(b"tada")
    assert training_identity("params", [data]) != identity
    data.write_bytes(b"data")
    monkeypatch.setattr(checkpoint.importlib.metadata, "version", lambda name: f"another {name}")
    assert training_identity("params", [data]) != identity


def test_the_identity_covers_the_code_of_the_training_and_no_other(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))

    def identity() -> str:
        code = "import stages.train, stages.models.checkpoint as tool; print(tool.training_identity('', []))"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True
        ).stdout

    before = identity()
    for module, changes_it in (("report.py", False), ("common/models.py", True), ("common/prepared.py", True)):
        with (tmp_path / "stages" / module).open("a") as stream:
            stream.write("# an edit\n")
        assert (identity() != before) == changes_it
