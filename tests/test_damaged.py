"""Damaged, missing and foreign files between the stages: one line that names the file, and the command to run."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from stages.models.models import import_keras

from .conftest import Project
from .faults import outputs

DATA, DESCRIPTION = "data/raw/mnist.npz", "data/raw/mnist.json"
TRAIN, TEST = "data/prepared/train", "data/prepared/test"
MODEL, HISTORY, PREDICTIONS = "data/models/cnn/10.keras", "data/models/cnn/10.csv", "metrics/predictions/cnn.json"
STAGES = {
    "preprocess": f"{DATA} {DESCRIPTION} new/prepared new/samples.png",
    "train": f"cnn {TRAIN} new",
    "evaluate": f"cnn {TEST} data/models/cnn new/predictions.json new/metrics.json",
    "report": f"cnn {TEST} {PREDICTIONS} new",
}
MADE_BY = {"preprocess": "fetch", "train": "preprocess", "report": "evaluate@cnn"}
Spoil = Callable[[Path], None]


@pytest.fixture(scope="module")
def shared(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built_project.clone(tmp_path_factory.mktemp("damaged") / "project")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """Flips a bit of the weights in a .keras archive."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def text(path: Path) -> None:
    path.write_bytes(b"<html>Please log in</html>")


def json_with(**changed: object) -> Spoil:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_bytes()) | changed))


def array(content: np.ndarray) -> Spoil:
    return lambda path: (path.unlink(), np.save(path, content, allow_pickle=True))


def member(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Changes a member of a .keras archive."""

    def rewrite(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {other: archive.read(other) for other in archive.namelist()}
        members[name] = change(members[name])
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            for other, content in members.items():
                archive.writestr(other, content)

    return rewrite


def model_of(*layers: str | int) -> Spoil:
    """Puts a Keras model of its own at the place: with 12 classes, or with a layer that would run code."""

    def save(path: Path) -> None:
        keras = import_keras()
        own = [keras.layers.Dense(n) if isinstance(n, int) else keras.layers.Lambda(lambda x: x + 1) for n in layers]
        path.unlink()
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *own]).save(path)

    return save


def weights(**options: object) -> Spoil:
    """Puts another array in place of the first weights of a model."""

    def edit(content: bytes) -> bytes:
        file = io.BytesIO(content)
        with h5py.File(file, "a") as stored:
            group = stored["layers/dense/vars"]
            shape = group["0"].shape
            del group["0"]
            group.create_dataset("0", **{"shape": shape, "dtype": "float32", **options})
        return file.getvalue()

    return member("model.weights.h5", edit)


DAMAGED = [
    ("preprocess", DATA, Path.unlink),
    ("preprocess", DATA, cut),
    ("preprocess", DESCRIPTION, Path.unlink),
    ("preprocess", DESCRIPTION, text),
    ("train", f"{TRAIN}/dataset.json", Path.unlink),
    ("train", f"{TRAIN}/dataset.json", json_with(image=[8, 8])),
    ("train", f"{TRAIN}/images.npy", Path.unlink),
    ("train", f"{TRAIN}/images.npy", cut),
    ("train", f"{TRAIN}/images.npy", array(np.array([{}], dtype=object))),
    ("train", f"{TRAIN}/labels.npy", array(np.zeros((300, 12), np.float32))),
    ("evaluate", f"{TEST}/images.npy", array(np.zeros((100, 8, 8, 1)))),
    ("evaluate", MODEL, Path.unlink),
    ("evaluate", MODEL, cut),
    ("evaluate", MODEL, flip),
    ("evaluate", MODEL, model_of(12)),
    ("evaluate", MODEL, model_of("code", 10)),
    ("evaluate", MODEL, member("config.json", lambda _: b"{}")),
    ("evaluate", MODEL, member("config.json", lambda _: b"[" * 100_000)),
    ("evaluate", MODEL, member("model.weights.h5", lambda content: content[:500])),
    ("evaluate", MODEL, weights(shape=(10**6, 10**6))),
    ("evaluate", MODEL, weights(external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])),
    ("evaluate", HISTORY, text),
    ("report", PREDICTIONS, Path.unlink),
    ("report", PREDICTIONS, cut),
    ("report", PREDICTIONS, json_with(label=[1] * 100)),
    ("report", PREDICTIONS, json_with(seeds=[11])),
    ("report", PREDICTIONS, json_with(probability=[["x"] * 100])),
]


@pytest.mark.parametrize(("stage", "path", "spoil"), DAMAGED, ids=[f"{n} {case[1]}" for n, case in enumerate(DAMAGED)])
def test_one_line_names_the_file_and_what_makes_it_anew(shared, stage: str, path: str, spoil: Spoil, tmp_path) -> None:
    before = outputs(shared)
    shutil.copy(shared.path / path, tmp_path / "kept")
    spoil(shared.path / path)
    try:
        done = shared.run("python", "-m", f"stages.{stage}", *STAGES[stage].split(), check=False)
    finally:
        shutil.copy(tmp_path / "kept", shared.path / path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}: ")
    removed = f"rm -f {path} && " if spoil != Path.unlink else ""
    run = "TRAIN_ANEW=1 dvc repro --force --single-item" if "its layers are not" in line else "dvc repro"
    makes = MADE_BY.get(stage) or ("preprocess" if TEST in path else "train@cnn")
    assert line.endswith(f"; make it anew with: {removed}{run} {makes}")
    assert line.count("make it anew") == 1
    assert not (shared.path / "new").exists()
    assert outputs(shared) == before, "something good was overwritten"
