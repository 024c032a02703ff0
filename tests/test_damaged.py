"""Damaged, missing and foreign files between the stages: one line that names the file, and the command to run."""

import errno
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from stages.models.models import import_keras
from stages.support.errors import CUSTOM, PipelineError, anticipated, command
from stages.support.json import MAX_BYTES, parse_json, read_as

from .conftest import ROOT, Project
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
    ("preprocess", DESCRIPTION, json_with(sha256="0" * 64)),
    ("train", f"{TRAIN}/dataset.json", Path.unlink),
    ("train", f"{TRAIN}/dataset.json", json_with(image=[8, 8])),
    ("train", f"{TRAIN}/images.npy", Path.unlink),
    ("train", f"{TRAIN}/images.npy", cut),
    ("train", f"{TRAIN}/images.npy", array(np.array([{}], dtype=object))),
    ("train", f"{TRAIN}/labels.npy", array(np.zeros((300, 12), np.float32))),
    ("evaluate", f"{TEST}/images.npy", array(np.zeros((100, 8, 8, 1)))),
    ("evaluate", MODEL, Path.unlink),
    ("evaluate", MODEL, cut),
    ("evaluate", MODEL, model_of(12)),
    ("evaluate", MODEL, model_of("code", 10)),
    ("evaluate", MODEL, member("config.json", lambda _: b"{}")),
    ("evaluate", MODEL, member("config.json", lambda _: b"[" * 100_000)),
    ("evaluate", MODEL, member("model.weights.h5", lambda content: content[:500])),
    ("evaluate", MODEL, weights(shape=(10**6, 10**6))),
    ("evaluate", MODEL, weights(external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])),
    ("evaluate", MODEL, weights(fillvalue=np.nan)),
    ("evaluate", HISTORY, text),
    ("evaluate", HISTORY, lambda path: path.write_text(re.sub(r"[\d.]+$", "inf", path.read_text(), flags=re.M))),
    ("report", PREDICTIONS, Path.unlink),
    ("report", PREDICTIONS, cut),
    ("report", PREDICTIONS, json_with(prediction=[[11] * 100])),
    ("report", PREDICTIONS, json_with(label=[1] * 100)),
    ("report", PREDICTIONS, json_with(seeds=[11])),
    ("report", PREDICTIONS, json_with(probability=[["x"] * 100])),
    ("report", PREDICTIONS, json_with(history=[[10, 1, "validation", "loss", 1.0]])),
]


@pytest.mark.parametrize(("stage", "path", "spoil"), DAMAGED, ids=[f"{n} {case[1]}" for n, case in enumerate(DAMAGED)])
def test_one_line_names_the_file_and_what_makes_it_anew(
    shared: Project, stage: str, path: str, spoil: Spoil, tmp_path: Path
) -> None:
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


def test_dvc_repro_makes_damaged_files_anew(project: Project) -> None:
    before = outputs(project)
    for path in (MODEL, f"{TEST}/images.npy", PREDICTIONS, DATA):
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
def test_too_little_memory_is_one_line(code: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        command(lambda: eval(code))()  # noqa: S307
    assert ended.value.code.startswith(f"error: not enough memory: {reason}")
    assert ended.value.code.endswith("; close other programs, or make batches or layers smaller")


integers = partial(read_as, list[int])
LARGE = "x: expected at most 16,000,000 bytes, found 16,000,001"


@pytest.mark.parametrize(
    ("read", "content", "line"),
    [
        (parse_json, b"[1, NaN]", "x: not valid JSON: "),
        (parse_json, b"[-Infinity]", "x: not valid JSON: "),
        (parse_json, b"[" * 202 + b"]" * 202, "x: not valid JSON: recursion limit exceeded"),
        (parse_json, b"[1]".rjust(MAX_BYTES + 1), LARGE),
        (integers, b"[1]".rjust(MAX_BYTES + 1), LARGE),
        (integers, b"[1", "x: not valid JSON: EOF while parsing"),
        (integers, b'["1"]', r'x: \[0\]: expected a valid integer, found "1"'),
        (integers, b"[1.0]", r"x: \[0\]: expected a valid integer, found 1.0"),
    ],
)
def test_json_is_read_strictly(read: Callable[[bytes, str], object], content: bytes, line: str) -> None:
    with pytest.raises(PipelineError, match=f"^{line}"):
        read(content, "x")
    assert read(b"[1]".rjust(MAX_BYTES), "x") == [1]


FAILURES = {
    errno.ENOSPC: "cannot write: No space left on device; free some space and rerun",
    errno.EDQUOT: "cannot write: Disk quota exceeded; free some space and rerun",
    errno.EFBIG: "cannot write: File too large; free some space and rerun",
    errno.EACCES: "Permission denied; change who may write there, and rerun",
    errno.EPERM: "Operation not permitted; change who may write there, and rerun",
    errno.EROFS: "Read-only file system; change who may write there, and rerun",
}


def test_a_disk_that_cannot_be_written_is_one_line_and_a_bug_keeps_its_traceback() -> None:
    for number, line in FAILURES.items():
        assert anticipated(OSError(number, os.strerror(number), "a/b")) == f"a/b: {line}"
    assert (
        anticipated(OSError(errno.ENOSPC, "full")) == "a temporary file: cannot write: full; free some space and rerun"
    )
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("def f():\n    1 / 0\nf()", f"/a folder/{CUSTOM}", "exec"))  # noqa: S102
    assert anticipated(raised.value) == f"{CUSTOM}, line 2: ZeroDivisionError: division by zero"
    for bug in (OSError(errno.EACCES, "no file"), OSError(errno.ENOENT, "", "a"), ValueError("x"), KeyboardInterrupt()):
        assert anticipated(bug) is None


def train(project: Project, limit: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    """Trains in a process with limits."""
    line = [sys.executable, "-m", "stages.train", *STAGES["train"].split()]
    return subprocess.run(line, cwd=project.path, preexec_fn=limit, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_memory_in_which_tensorflow_would_abort_is_refused(shared: Project) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1500 * 2**20, resource.RLIM_INFINITY))

    done = train(shared, limit)
    assert done.returncode == 1
    message, _, advice = done.stderr.partition("; raise it with: ")
    assert message == "error: TensorFlow: expected at least 1,700 MiB of address space, found a limit of 1,500 MiB"
    assert subprocess.check_output(["bash", "-c", f"{advice.strip()} && ulimit -v"], preexec_fn=limit) == b"unlimited\n"


@pytest.mark.skipif(sys.platform != "linux", reason="sets limits that only Linux has")
def test_a_training_runs_in_two_gibibytes_and_with_64_open_files(project: Project) -> None:
    def limit() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # TensorFlow starts threads for each core
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = train(project, limit)
    assert done.returncode == 0, done.stderr
    assert (project.path / "new/10.keras").read_bytes() == (project.path / MODEL).read_bytes()
