"""From params.yaml's data to Keras: every layer, the six models, and back from a model file."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.arrays import Dataset
from stages.common.layers import LAYERS, Layer
from stages.common.models import build_model, import_keras, model_summary, save_model
from stages.common.params import Architecture, load_params

from .conftest import TUTORIALS

MNIST = Dataset(dataset="MNIST", classes=10, image=(28, 28, 1), train=60_000, test=10_000, sha256="")
# ../shared/design and the tutorials' own model.summary()
PARAMETERS = {
    "mlp_256": 203_530,
    "mlp_1000": 795_010,
    "mlp_1000_dropout": 795_010,
    "mlp_1000x2_dropout": 1_796_010,
    "cnn": 1_608_778,
    "cnn_1x28x28": 68_266,
}
ARGUMENTS = {
    "Activation": {"activation": "relu"},
    "AveragePooling2D": {"pool_size": 2},
    "Conv2D": {"filters": 3, "kernel_size": 3},
    "Dense": {"units": 4},
    "Dropout": {"rate": 0.5},
    "Reshape": {"target_shape": (2, 98, 4)},
    "SpatialDropout2D": {"rate": 0.5},
}


def entry(name: str, **arguments: object) -> Layer:
    return LAYERS[name].model_validate({name: ARGUMENTS.get(name, {}) | arguments})


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_gives_the_shape_that_keras_gives(name: str) -> None:
    layer = entry(name)
    real = getattr(import_keras().layers, name)(**layer.arguments())
    assert real.compute_output_shape((None, 28, 28, 1))[1:] == layer.output_shape((28, 28, 1), 10)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_argument_and_default_is_keras_own(name: str) -> None:
    layer = entry(name)
    every = layer.model_dump()
    real = getattr(import_keras().layers, name)
    ours, theirs = real(**every), real(**layer.arguments())
    drop = ("name", "dtype", "build_config")
    assert {k: v for k, v in ours.get_config().items() if k not in drop} == {
        k: v for k, v in theirs.get_config().items() if k not in drop
    }


@settings(max_examples=150)
@given(
    name=st.sampled_from(["Conv2D", "MaxPooling2D", "AveragePooling2D"]),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5)),
    window=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.sampled_from(["valid", "same"]),
    data_format=st.sampled_from(["channels_last", "channels_first"]),
)
def test_windows_slide_as_in_keras(name, size, window, strides, padding, data_format) -> None:
    arguments = {"kernel_size" if name == "Conv2D" else "pool_size": window, "strides": strides, "padding": padding}
    if name != "Conv2D":
        arguments["data_format"] = data_format
    layer = entry(name, **arguments)
    try:
        ours = layer.output_shape(size, None)
    except ValueError:
        ours = None
    try:
        theirs = getattr(import_keras().layers, name)(**layer.arguments()).compute_output_shape((None, *size))[1:]
    except ValueError:
        theirs = None
    assert ours == (None if theirs is not None and min(theirs) < 1 else theirs)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_six_models_have_the_tutorials_parameter_counts(name: str) -> None:
    architecture = load_params(TUTORIALS).architecture(name)
    model = build_model(name, architecture, MNIST)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (None, 10)
    assert f"{PARAMETERS[name]:,}" in model_summary(model)


def test_the_summary_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("small", small_architecture(), MNIST)
    monkeypatch.setenv("COLUMNS", "120")
    wide = model_summary(model)
    monkeypatch.setenv("COLUMNS", "45")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert model_summary(model) == wide
    assert max(map(len, wide.splitlines())) == 80


def small_architecture() -> Architecture:
    return Architecture.model_validate(
        {
            "layers": ["Flatten", {"Dense": {"units": 16, "activation": "relu"}}, {"Dropout": {"rate": 0.5}},
                       {"Dense": {"units": "classes", "activation": "softmax"}}],
            "compile": {"optimizer": {"Adam": {"learning_rate": 0.01}}},
            "fit": {"epochs": 1, "batch_size": 10},
        }
    )  # fmt: skip


def test_a_saved_model_loads_and_predicts_the_same(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    model = build_model("small", small_architecture(), MNIST)
    model.fit(images, np.eye(10, dtype=np.float32)[:5], verbose=0)
    save_model(model, tmp_path / "small.keras")
    loaded = import_keras().saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert loaded.optimizer.learning_rate.numpy() == np.float32(0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["small.keras"]
