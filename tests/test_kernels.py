"""Kernels are the project's choice, whatever the environment; where they cannot be, a line says so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.common import kernels
from stages.common.kernels import kernels_identity, why_not_portable
from stages.models.building import build_model, load_model
from stages.models.models import import_keras, save_model
from stages.models.portable import (
    batch_normalization,
    gelu,
    initialize_orthogonal,
    layer_normalization,
    rms_normalization,
    use_portable_operations,
)
from stages.support.architecture import Architecture
from tools.verify.small import mixed

from .conftest import ROOT, Project
from .faults import outputs
from .test_models import MNIST

# Whatever may steer a kernel, and what would come of it if it were heeded
STEERING = {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "ANY",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "3",
    "TF_NUM_INTEROP_THREADS": "3",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "OMP_NUM_THREADS": "3",
    "NPY_DISABLE_CPU_FEATURES": "",
    "OPENBLAS_CORETYPE": "Prescott",
    "KERAS_BACKEND": "jax",
}
PROBE = """\
import json, os
from stages.models.models import make_deterministic
make_deterministic(1, "portable")
import numpy as np, tensorflow as tf
print(json.dumps({
    "environment": {name: value for name, value in os.environ.items() if name in %r},
    "numpy": np.show_config("dicts")["SIMD Extensions"].get("found", []),
    "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "gpus": len(tf.config.get_visible_devices("GPU")),
}))
os.environ["ONEDNN_VERBOSE"] = "1"  # logs are heeded
tf.matmul(tf.ones((200, 300)), tf.ones((300, 100)))
"""


def test_the_environment_does_not_choose_kernels() -> None:
    told = []
    for environment in (STEERING, {}):
        given = {name: value for name, value in os.environ.items() if name not in STEERING} | environment
        command = [sys.executable, "-c", PROBE % list(STEERING)]
        told.append(subprocess.run(command, cwd=ROOT, env=given, text=True, capture_output=True, check=True).stdout)
    found, verbose = told[0].split("\n", 1)
    assert json.loads(found) == json.loads(told[1].partition("\n")[0])
    found = json.loads(found)
    assert found.pop("environment") == {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "NPY_DISABLE_CPU_FEATURES": kernels.FIXED["NPY_DISABLE_CPU_FEATURES"],
        "OPENBLAS_CORETYPE": "Haswell",
        "KERAS_BACKEND": "tensorflow",
    }
    assert found == {"numpy": [], "threads": 1, "gpus": 0}
    assert "isa:Intel AVX2\n" in verbose


@pytest.mark.parametrize(
    ("system", "machine", "features", "tunables", "why"),
    [
        ("Linux", "x86_64", "flags : fma sse2 avx2", "", ""),
        ("Linux", "x86_64", "flags : fma avx2 avx512f", "glibc.malloc.check=3", ""),
        ("Linux", "x86_64", "flags : sse2 avx fma", "", "this processor has no AVX2"),
        ("Linux", "aarch64", "Features : fp asimd", "", "this is Linux on aarch64"),
        ("Darwin", "arm64", "arm", "", "this is Darwin on arm64"),
        ("Linux", "x86_64", "flags : fma avx2", "glibc.cpu.hwcaps=-AVX2", "GLIBC_TUNABLES chooses functions"),
    ],
)
def test_where_bytes_are_not_portable_it_is_known_why(monkeypatch, system, machine, features, tunables, why) -> None:
    monkeypatch.setattr(kernels.platform, "system", lambda: system)
    monkeypatch.setattr(kernels.platform, "machine", lambda: machine)
    monkeypatch.setattr(kernels, "_processor", lambda: features)
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert why_not_portable("portable").startswith(why)
    assert bool(why_not_portable("portable")) == bool(why)
    assert (kernels_identity("portable") == "portable") == (not why), "of the processor, only what decides bytes counts"
    assert why_not_portable("native") == "train.kernels is native"
    assert features in kernels_identity("native")


def test_native_kernels_train_too_and_say_that_their_bytes_are_this_machines(project: Project) -> None:
    before = outputs(project)
    project.edit(lambda params: params["train"].update(kernels="native"))
    told = project.run("dvc", "repro")
    assert "cnn: train.kernels is native: other machines give other bytes; " in told.stderr
    accuracy = json.loads(outputs(project)["metrics/cnn.json"])["accuracy"]
    assert accuracy == pytest.approx(json.loads(before["metrics/cnn.json"])["accuracy"], abs=0.05)


def test_gelu_is_keras_gelu() -> None:
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    np.testing.assert_allclose(gelu(x), import_keras().activations.gelu(x), rtol=1e-4, atol=1e-6)


def test_layers_and_cells_get_the_portable_operations() -> None:
    keras = import_keras()
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            keras.layers.LSTM(2, activation="gelu", recurrent_activation="gelu", return_sequences=True),
            keras.layers.Dense(3, activation="gelu"),
            keras.layers.Dense(3, activation="relu"),
            keras.layers.RMSNormalization(),
        ]
    )
    use_portable_operations(model)
    recurrent, first, second, norm = model.layers
    assert (recurrent.cell.activation, recurrent.cell.recurrent_activation, first.activation) == (gelu, gelu, gelu)
    assert second.activation is keras.activations.relu
    assert norm.call.func is rms_normalization


def test_an_epsilon_keeps_small_inputs_small() -> None:
    layer = import_keras().layers.RMSNormalization(epsilon=0.75)
    layer.build((1, 2))
    np.testing.assert_allclose(rms_normalization(layer, np.full((1, 2), 0.5, np.float32)), [[0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(50, 6), (10, 5, 4, 6)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization_is_keras_batch_normalization(shape: tuple[int, ...], affine: bool) -> None:
    keras = import_keras()
    inputs = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    layers = [keras.layers.BatchNormalization(momentum=0.9, center=affine, scale=affine) for _ in range(2)]
    for layer in layers:
        layer.build(shape)
        layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
    for training in (True, False):
        ours, theirs = batch_normalization(layers[0], inputs, training=training), layers[1](inputs, training=training)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_model_that_computes_otherwise_is_saved_as_keras_own(tmp_path: Path) -> None:
    model = build_model("every", Architecture.model_validate(mixed()), MNIST)
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    model.fit(images, np.eye(10, dtype=np.float32)[np.arange(20) % 10], verbose=0)
    save_model(model, tmp_path / "model.keras")
    predicted = model.predict(images, verbose=0)
    loaded = load_model(tmp_path / "model.keras", "every", Architecture.model_validate(mixed()), MNIST, "native")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), predicted)
    theirs = import_keras().saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(theirs.predict(images, verbose=0), predicted, rtol=1e-4)


@pytest.mark.parametrize("filters", [4, 20])
def test_orthogonal_weights_are_orthogonal_and_scaled(filters: int) -> None:
    keras = import_keras()
    initializer = keras.initializers.Orthogonal(gain=2, seed=1)
    layer = keras.layers.Conv2D(filters, 3, kernel_initializer=initializer)
    model = keras.Sequential([keras.Input((8, 8, 1)), layer])
    theirs = layer.kernel.numpy()
    initialize_orthogonal(model)
    np.testing.assert_allclose(layer.kernel, theirs, atol=1e-5)
    weights = layer.kernel.numpy().reshape(9, filters) / 2
    gram = weights.T @ weights if filters < 9 else weights @ weights.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ours", "arguments"),
    [
        ("LayerNormalization", layer_normalization, {}),
        ("LayerNormalization", layer_normalization, {"axis": [1, 2]}),
        ("LayerNormalization", layer_normalization, {"axis": [3, 1], "center": False, "scale": False}),
        ("RMSNormalization", rms_normalization, {}),
    ],
)
def test_a_normalization_is_keras_own(name: str, ours: Callable, arguments: dict) -> None:
    inputs = np.random.default_rng(0).normal(3, 2, (10, 5, 4, 6)).astype(np.float32)
    layer = getattr(import_keras().layers, name)(**arguments)
    layer.build(inputs.shape)
    random = np.random.default_rng(1)
    layer.set_weights([random.random(weight.shape, np.float32) for weight in layer.get_weights()])
    np.testing.assert_allclose(ours(layer, inputs), layer(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["LSTM", "SeparableConv2D", "DepthwiseConv2D"])
def test_weights_of_every_kind_of_layer_may_be_orthogonal(name: str) -> None:
    """Their arguments and weights have other names; a weight that were not found would raise."""
    arguments = {
        "LSTM": {"units": 4},
        "SeparableConv2D": {"filters": 9, "kernel_size": 3, "pointwise_initializer": "orthogonal"},
        "DepthwiseConv2D": {"kernel_size": 3, "depthwise_initializer": "orthogonal"},
    }[name]
    keras = import_keras()
    layer = getattr(keras.layers, name)(**arguments)
    model = keras.Sequential([keras.Input((8, 8) if name == "LSTM" else (8, 8, 9)), layer])
    theirs = model.get_weights()
    for weight in model.weights:
        weight.assign(weight + 1)
    initialize_orthogonal(model)
    restored = [np.allclose(ours, their, atol=1e-5) for ours, their in zip(model.get_weights(), theirs, strict=True)]
    assert (
        restored
        == {
            "LSTM": [False, True, False],
            "SeparableConv2D": [False, True, False],
            "DepthwiseConv2D": [True, False],
        }[name]
    )
