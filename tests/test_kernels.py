"""The project chooses the kernels, whatever the environment; where it cannot, it prints a line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from stages.common import kernels
from stages.common.kernels import fix_environment, kernels_identity, why_not_portable
from stages.models.models import import_keras
from stages.models.portable import (
    batch_normalization,
    gelu,
    initialize_orthogonal,
    layer_normalization,
    rms_normalization,
    use_portable_operations,
)

from .conftest import ROOT, Project

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
from tensorflow.python.framework.config import is_op_determinism_enabled
print(json.dumps({
    "environment": {name: value for name, value in os.environ.items() if name in %r},
    "numpy": np.show_config("dicts")["SIMD Extensions"].get("found", []),
    "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "gpus": len(tf.config.get_visible_devices("GPU")),
    # makes an approximate 1/√x of x/√y, which differs between processors
    "rewrites": tf.config.optimizer.get_experimental_options()["arithmetic_optimization"],
    "is deterministic": is_op_determinism_enabled(),
}))
os.environ["ONEDNN_VERBOSE"] = "1"  # logs are heeded
tf.matmul(tf.ones((200, 300)), tf.ones((300, 100)))
"""


def test_the_environment_does_not_choose_kernels() -> None:
    command = [sys.executable, "-c", PROBE % list(STEERING)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | STEERING, text=True, capture_output=True, check=True)
    chosen, verbose = done.stdout.split("\n", 1)
    assert json.loads(chosen) == {
        "environment": {
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "TF_ENABLE_ONEDNN_OPTS": "1",
            "NPY_DISABLE_CPU_FEATURES": kernels.FIXED["NPY_DISABLE_CPU_FEATURES"],
            "OPENBLAS_CORETYPE": "Haswell",
            "KERAS_BACKEND": "tensorflow",
        },
        "numpy": [],
        "threads": 1,
        "gpus": 0,
        "rewrites": False,
        "is deterministic": True,
    }
    assert "isa:Intel AVX2\n" in verbose


def test_variables_that_choose_no_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "ONEDNN_VERBOSE", "HDF5_USE_FILE_LOCKING"
    removed = ("DNNL_X", "GOMP_X", "KMP_X", "MKL_X", "GOTO_X", "TF2_X", "SCIPY_X", "SKLEARN_X", "HDF5_X", "FREETYPE_X")
    for name in (*kept, *removed):
        monkeypatch.setenv(name, "1")
    fix_environment()
    assert [name for name in (*kept, *removed) if name in os.environ] == list(kept)


@pytest.mark.parametrize(
    ("system", "machine", "features", "tunables", "why"),
    [
        ("Linux", "x86_64", "flags : fma sse2 avx2", "", ""),
        ("Linux", "x86_64", "flags : fma avx2 avx512f", "glibc.malloc.check=3", ""),
        ("Linux", "x86_64", "flags : sse2 avx fma", "", "this processor has no AVX2"),
        ("Linux", "x86_64", "flags : sse2 avx2", "", "this processor has no AVX2"),  # and FMA, which such ones have
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
    assert kernels_identity("native").startswith(f"native, {features}, {os.cpu_count()} cores, [PhysicalDevice(")


def test_native_kernels_train_too_and_say_that_their_bytes_are_this_machines(project: Project) -> None:
    before = json.loads((project.path / "metrics/cnn.json").read_bytes())["accuracy"]
    project.edit(lambda params: params["train"].update(kernels="native"))
    notice = project.run("dvc", "repro", "evaluate@cnn").stderr
    assert "cnn: train.kernels is native: other machines give other bytes; " in notice
    accuracy = json.loads((project.path / "metrics/cnn.json").read_bytes())["accuracy"]
    assert accuracy == pytest.approx(before, abs=0.05)


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
            keras.layers.LayerNormalization(),
            keras.layers.BatchNormalization(),
        ]
    )
    use_portable_operations(model)
    recurrent, first, second, *norms = model.layers
    assert (recurrent.cell.activation, recurrent.cell.recurrent_activation, first.activation) == (gelu, gelu, gelu)
    assert second.activation is keras.activations.relu
    assert [norm.call.func for norm in norms] == [rms_normalization, layer_normalization, batch_normalization]


@pytest.mark.parametrize(("shape", "trainable"), [((50, 6), True), ((10, 5, 4, 6), True), ((50, 6), False)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization_is_keras_batch_normalization(shape, trainable: bool, affine: bool) -> None:
    inputs = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    arguments = {"momentum": 0.9, "center": affine, "scale": affine, "trainable": trainable}
    ours, theirs = (import_keras().layers.BatchNormalization(**arguments) for _ in range(2))
    for layer in (ours, theirs):
        layer.build(shape)
        layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
    for training in (True, False):
        expected = theirs(inputs, training=training)
        np.testing.assert_allclose(batch_normalization(ours, inputs, training=training), expected, rtol=1e-4, atol=1e-5)
    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "ours", "arguments"),
    [
        ("LayerNormalization", layer_normalization, {"epsilon": 0.75}),
        ("LayerNormalization", layer_normalization, {"axis": [1, 2]}),
        ("LayerNormalization", layer_normalization, {"axis": [3, 1], "center": False, "scale": False}),
        ("RMSNormalization", rms_normalization, {"epsilon": 0.75}),
    ],
)
def test_a_normalization_is_keras_own(name: str, ours: Callable, arguments: dict) -> None:
    inputs = np.random.default_rng(0).normal(3, 2, (10, 5, 4, 6)).astype(np.float32)
    layer = getattr(import_keras().layers, name)(**arguments)
    layer.build(inputs.shape)
    random = np.random.default_rng(1)
    layer.set_weights([random.random(weight.shape, np.float32) for weight in layer.get_weights()])
    np.testing.assert_allclose(ours(layer, inputs), layer(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "kernel", "orthogonal"),  # weights: their names differ between kinds of layers
    [
        ("Conv2D", {"filters": 4, "kernel_size": 3}, "kernel", [True, False]),
        ("Conv2D", {"filters": 90, "kernel_size": 3}, "kernel", [True, False]),
        ("LSTM", {"units": 4}, "", [False, True, False]),
        ("SeparableConv2D", {"filters": 9, "kernel_size": 3}, "pointwise", [False, True, False]),
        ("DepthwiseConv2D", {"kernel_size": 3}, "depthwise", [True, False]),
    ],
)
def test_weights_of_every_kind_of_layer_may_be_orthogonal(name, arguments, kernel: str, orthogonal: list[bool]) -> None:
    keras = import_keras()
    given = {f"{kernel}_initializer": keras.initializers.Orthogonal(gain=2, seed=1)} if kernel else {}
    layer = getattr(keras.layers, name)(**arguments, **given)
    model = keras.Sequential([keras.Input((8, 8) if name == "LSTM" else (8, 8, 9)), layer])
    theirs = model.get_weights()
    for weight in model.weights:
        weight.assign(weight + 1)
    initialize_orthogonal(model)
    ours = model.get_weights()
    assert [np.allclose(our, their, atol=1e-5) for our, their in zip(ours, theirs, strict=True)] == orthogonal
    weights = ours[orthogonal.index(True)]
    matrix = weights.reshape(-1, weights.shape[-1])
    small = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    gain = 1 if name == "LSTM" else 2
    np.testing.assert_allclose(small @ small.T, gain**2 * np.eye(len(small)), atol=1e-5)
