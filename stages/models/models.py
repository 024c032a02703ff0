"""Imports Keras; saves and loads models, deterministically.

`import_keras` imports TensorFlow, after arguments and params have been checked.
"""

import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import h5py

from stages.common.files import replacing
from stages.common.kernels import Kernels, choose_kernels
from stages.support.errors import PipelineError, unreadable
from stages.support.json import parse_json

if TYPE_CHECKING:
    import keras

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]  # of a .keras archive
LEAST_MEMORY = 1700  # MiB of address space, in which TensorFlow trains mlp_256 on two cores; in 1600 it aborts
SUMMARY_WIDTH = 80  # characters
PRIVATE_TO_ADAM = ("update_step", "_get_variable_index", "_momentums", "_velocities")  # attributes of Keras's Adam


@functools.cache
def import_keras() -> ModuleType:
    """Imports Keras on TensorFlow, without TensorFlow's start-up messages unless the import fails.

    Keras imports scikit-learn and matplotlib if they are installed, for wrappers and galleries that no stage uses. They
    are hidden from it, which saves a third of the import's time. So is the user's keras.json, as settings there change
    results. Raises `PipelineError` if this process may not use enough memory.
    """
    _check_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_held_back(), _hidden("sklearn", "matplotlib"), _no_keras_home():
        import keras
    return keras


def _check_memory() -> None:
    if sys.platform == "linux":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if resource.RLIM_INFINITY != limit < LEAST_MEMORY * 2**20:
            limited = f"found a limit of {limit // 2**20:,} MiB; raise it with: ulimit -v unlimited"
            raise PipelineError(f"TensorFlow: expected at least {LEAST_MEMORY:,} MiB of address space, {limited}")


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Holds back what C++ code writes to stderr, and shows it if the block raises.

    TensorFlow writes its first messages before it reads its log level, so no setting silences them.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _no_keras_home() -> Iterator[None]:
    """Sets KERAS_HOME to a place where Keras neither finds its settings nor writes them."""
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        os.environ.update({"KERAS_HOME": before} if before is not None else {})


@contextlib.contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Hides packages that are not imported yet, as if they were not installed."""
    hidden: dict[str, Any] = dict.fromkeys(package for package in packages if package not in sys.modules)
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


def make_deterministic(seed: int, kernels: Kernels) -> None:
    """Seeds Python, NumPy and TensorFlow, and makes TensorFlow's kernels deterministic."""
    keras = import_keras()
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    choose_kernels(kernels)


def has_layers_of(model: "keras.Model", path: Path) -> bool:
    """Returns whether `save_model` wrote the file for a model with these layers.

    Raises `PipelineError` if the file is damaged. The description of the layers in it is compared, never followed.
    """
    with unreadable(path, "the model that train saves"), zipfile.ZipFile(path) as archive:
        if sorted(archive.namelist()) != MEMBERS or any(item.compress_type for item in archive.infolist()):
            raise ValueError(f"it does not hold {', '.join(MEMBERS)}, uncompressed")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")
        saved = parse_json(archive.read(MEMBERS[0]), f"{path}: {MEMBERS[0]}")
        return _layers(saved) == _layers(import_keras().saving.serialize_keras_object(model))


def load_weights(model: "keras.Model", path: Path) -> None:
    """Loads the weights that `save_model` wrote for a model with the same layers.

    Only numbers are read from the file. So a file from others can neither run code nor build a model larger than
    params.yaml allows. Raises `PipelineError` if the file is damaged.
    """
    with unreadable(path, "the model that train saves"), zipfile.ZipFile(path) as archive:
        with archive.open(MEMBERS[2]) as stream, h5py.File(stream) as weights:
            weights.visititems(_check_stored)
        model.load_weights(path)


def _check_stored(name: str, item: Any) -> None:
    """Raises `ValueError` for an array that takes more memory than its file, or that lies in another file."""
    if isinstance(item, h5py.Dataset) and (
        item.external or item.chunks or item.is_virtual or item.nbytes > item.id.get_storage_size()
    ):
        raise ValueError(f"{MEMBERS[2]}: {name} is not stored as Keras stores it")


def _layers(description: Any) -> Any:
    """Returns the layers from a model's description, without numbers that only count objects or seed."""
    return _without(json.loads(json.dumps(description["config"])), {"seed", "shared_object_id"})


def _without(value: Any, keys: set[str]) -> Any:
    """Copies nested lists and dictionaries without these keys."""
    if isinstance(value, list):
        return [_without(item, keys) for item in value]
    if isinstance(value, dict):
        return {name: _without(item, keys) for name, item in value.items() if name not in keys}
    return value


def fuse_update(model: "keras.Model") -> None:
    """Makes Adam update each weight by one TensorFlow operation, where Keras takes a dozen.

    The formula is the same (https://arxiv.org/abs/1412.6980, before section 2.1). Each operation passes through memory
    once, and the weights of a dense layer do not fit into the processor's caches. Other optimizers, and an Adam without
    the private attributes used here, keep Keras's own update.
    """
    import tensorflow as tf

    optimizer = model.optimizer
    if type(optimizer) is not import_keras().optimizers.Adam or optimizer.amsgrad:
        return
    optimizer.build(model.trainable_variables)
    if not all(hasattr(optimizer, name) for name in PRIVATE_TO_ADAM):
        return

    def update_step(gradient: "tf.Tensor", variable: "tf.Variable", learning_rate: "tf.Tensor") -> None:
        step = tf.cast(optimizer.iterations + 1, variable.dtype)
        index = optimizer._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=tf.pow(optimizer.beta_1, step),
            beta2_power=tf.pow(optimizer.beta_2, step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    optimizer.update_step = update_step


def model_summary(model: "keras.Model") -> str:
    """Returns `model.summary()` as text, 80 columns wide whatever the terminal is."""
    lines: list[str] = []
    os.environ["COLUMNS"] = str(SUMMARY_WIDTH)
    with contextlib.redirect_stdout(io.StringIO()):
        model.summary(print_fn=lambda text, **_: lines.append(text), line_length=SUMMARY_WIDTH)
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def save_model(model: "keras.Model", path: Path) -> None:
    """Saves a `.keras` archive whose bytes depend on the model alone.

    Keras writes the time of saving (metadata.json, zip entries) and memory addresses
    (`shared_object_id` in config.json); the archive is rewritten without them.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        import_keras().saving.save_model(model, saved)
        archive = canonical_archive(saved.read_bytes())
    with replacing(path) as partial:
        partial.write_bytes(archive)


def canonical_archive(archive: bytes) -> bytes:
    """Rewrites a `.keras` archive with fixed dates and renumbered object ids."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(result, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "config.json":
                content = json.dumps(_renumber(json.loads(content), {})).encode()
            elif name == "metadata.json":
                content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            target.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
    return result.getvalue()


def _renumber(value: Any, ids: dict[int, int]) -> Any:
    """Replaces each `shared_object_id` by the order of its first appearance."""
    if isinstance(value, list):
        return [_renumber(item, ids) for item in value]
    if isinstance(value, dict):
        return {
            key: ids.setdefault(item, len(ids)) if key == "shared_object_id" else _renumber(item, ids)
            for key, item in value.items()
        }
    return value
