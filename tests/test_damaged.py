"""Damaged, missing and foreign files between the stages: one line that names the file, and the command to run."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from stages.models.models import import_keras

from .conftest import ROOT, Project
from .faults import outputs

MODEL, TRAIN, TEST = "data/models/cnn/10.keras", "data/prepared/train", "data/prepared/test"
PREDICTIONS = "metrics/predictions/cnn.json"
STAGES = {
    "preprocess": "data/raw/mnist.npz data/raw/mnist.json new/prepared new/samples.png",
    "train": f"cnn {TRAIN} new",
    "evaluate": f"cnn {TEST} data/models/cnn new/predictions.json new/metrics.json",
    "report": f"cnn {TEST} {PREDICTIONS} new",
}


@pytest.fixture(scope="module")
def shared(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built_project.clone(tmp_path_factory.mktemp("damaged") / "project")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def text(path: Path) -> None:
    path.write_bytes(b"<html>Please log in</html>")


def json_with(**changed: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_bytes()) | changed))


def array(shape: tuple[int, ...], dtype: str = "float32") -> Callable[[Path], None]:
    def save(path: Path) -> None:
        path.unlink()
        np.save(path, np.zeros(shape, dtype))

    return save


def pickled(path: Path) -> None:
    path.unlink()
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


def member(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes a member of a .keras archive."""

    def rewrite(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        members[name] = change(members[name])
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in members.items():
                archive.writestr(each, content)

    return rewrite


def model_of(*outputs: object) -> Callable[[Path], None]:
    """Puts a Keras model of its own at the place: with 12 classes, or with a layer that would run code."""

    def save(path: Path) -> None:
        keras = import_keras()
        layers = keras.layers
        made = [layers.Lambda(lambda x: x + 1) if each == "code" else layers.Dense(each) for each in outputs]
        path.unlink()
        keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *made]).save(path)

    return save


def weights(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    """Changes the file of weights within a model."""

    def edit(content: bytes) -> bytes:
        file = io.BytesIO(content)
        with h5py.File(file, "a") as stored:
            change(stored)
        return file.getvalue()

    return member("model.weights.h5", edit)


def huge(stored: h5py.File) -> None:
    group = stored["layers/dense/vars"]
    del group["0"]
    group.create_dataset("0", (10**6, 10**6), dtype="float32")


def elsewhere(stored: h5py.File) -> None:
    group = stored["layers/dense/vars"]
    shape = group["0"].shape
    del group["0"]
    group.create_dataset("0", shape, dtype="float32", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def not_finite(stored: h5py.File) -> None:
    stored["layers/dense/vars/0"][:] = np.nan


DAMAGED = [
    ("preprocess", "data/raw/mnist.npz", Path.unlink, "fetch"),
    ("preprocess", "data/raw/mnist.npz", cut, "fetch"),
    ("preprocess", "data/raw/mnist.json", Path.unlink, "fetch"),
    ("preprocess", "data/raw/mnist.json", text, "fetch"),
    ("preprocess", "data/raw/mnist.json", json_with(sha256="0" * 64), "fetch"),
    ("preprocess", "data/raw/mnist.json", json_with(dataset=7), "fetch"),
    ("train", f"{TRAIN}/dataset.json", Path.unlink, "preprocess"),
    ("train", f"{TRAIN}/dataset.json", json_with(image=[8, 8]), "preprocess"),
    ("train", f"{TRAIN}/dataset.json", json_with(count="many"), "preprocess"),
    ("train", f"{TRAIN}/images.npy", Path.unlink, "preprocess"),
    ("train", f"{TRAIN}/images.npy", cut, "preprocess"),
    ("train", f"{TRAIN}/images.npy", text, "preprocess"),
    ("train", f"{TRAIN}/images.npy", pickled, "preprocess"),
    ("train", f"{TRAIN}/labels.npy", array((300, 12)), "preprocess"),
    ("evaluate", f"{TEST}/images.npy", array((100, 8, 8, 1), "float64"), "preprocess"),
    ("evaluate", MODEL, Path.unlink, "train@cnn"),
    ("evaluate", MODEL, cut, "train@cnn"),
    ("evaluate", MODEL, text, "train@cnn"),
    ("evaluate", MODEL, model_of(12), "train@cnn"),
    ("evaluate", MODEL, model_of("code", 10), "train@cnn"),
    ("evaluate", MODEL, member("config.json", lambda _: b"{}"), "train@cnn"),
    ("evaluate", MODEL, member("config.json", lambda _: b"[" * 100_000), "train@cnn"),
    ("evaluate", MODEL, member("model.weights.h5", lambda found: found[:500]), "train@cnn"),
    ("evaluate", MODEL, weights(huge), "train@cnn"),
    ("evaluate", MODEL, weights(elsewhere), "train@cnn"),
    ("evaluate", MODEL, weights(not_finite), "train@cnn"),
    ("evaluate", "data/models/cnn/10.csv", Path.unlink, "train@cnn"),
    ("evaluate", "data/models/cnn/10.csv", text, "train@cnn"),
    ("report", PREDICTIONS, Path.unlink, "evaluate@cnn"),
    ("report", PREDICTIONS, cut, "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(prediction=[[11] * 100]), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(label=[1] * 100), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(seeds=[11]), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(loss=["x"]), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(probability=[["x"] * 100]), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(history=[[10, 1, "validation", "loss", 1.0]]), "evaluate@cnn"),
    ("report", PREDICTIONS, json_with(models=[]), "evaluate@cnn"),
]


@pytest.mark.parametrize(
    ("stage", "path", "spoil", "makes"), DAMAGED, ids=[f"{index} {case[1]}" for index, case in enumerate(DAMAGED)]
)
def test_one_line_names_the_file_and_what_makes_it_anew(
    shared: Project, stage: str, path: str, spoil: Callable[[Path], None], makes: str, tmp_path: Path
) -> None:
    before = outputs(shared)
    kept = tmp_path / "kept"
    shutil.copy(shared.path / path, kept)
    spoil(shared.path / path)
    try:
        done = shared.run("python", "-m", f"stages.{stage}", *STAGES[stage].split(), check=False)
    finally:
        shutil.copy(kept, shared.path / path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}: ")
    removed = f"rm -f {path} && " if spoil != Path.unlink else ""
    run = "TRAIN_ANEW=1 dvc repro --force --single-item" if "its layers are not" in line else "dvc repro"
    assert line.endswith(f"; make it anew with: {removed}{run} {makes}")
    assert line.count("make it anew") == 1
    assert not (shared.path / "new").exists()
    assert outputs(shared) == before, "something good was overwritten"


def test_dvc_repro_makes_damaged_files_anew(project: Project) -> None:
    before = outputs(project)
    for path in (MODEL, f"{TEST}/images.npy", PREDICTIONS, "data/raw/mnist.npz"):
        cut(project.path / path)
    project.repro()
    assert outputs(project) == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("bytearray(2**60)", "MemoryError"),
        ("__import__('numpy').zeros(2**55)", "Unable to allocate 256. PiB for an array with shape"),
        ("(_ for _ in ()).throw(ImportError('x.so: failed to map segment from shared object'))", "x.so: failed to map"),
    ],
)
def test_too_little_memory_is_one_line(code: str, reason: str) -> None:
    code = f"from stages.support.errors import command; command(lambda: {code})()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: not enough memory: {reason}")
    assert done.stderr.endswith("; close other programs, or make batches or layers smaller\n")


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_memory_in_which_tensorflow_would_abort_is_refused(shared: Project) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1500 * 2**20, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "stages.train", *STAGES["train"].split()]
    done = subprocess.run(command, cwd=shared.path, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    message, _, advice = done.stderr.partition("; raise it with: ")
    assert message == "error: TensorFlow: expected at least 1,700 MiB of address space, found a limit of 1,500 MiB"
    again = ["bash", "-c", f'{advice.strip()} && exec "$@"', "bash", *command]
    assert subprocess.run(again, cwd=shared.path, preexec_fn=limit, capture_output=True, check=False).returncode == 0
    shutil.rmtree(shared.path / "new")


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_a_training_runs_in_two_gibibytes_and_with_64_open_files(project: Project) -> None:
    def limit() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # TensorFlow starts threads for each core
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    command = [sys.executable, "-m", "stages.train", *STAGES["train"].split()]
    done = subprocess.run(
        command, cwd=project.path, preexec_fn=limit, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (project.path / "new/10.keras").read_bytes() == (project.path / MODEL).read_bytes()
