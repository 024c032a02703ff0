"""From params.yaml's data to Keras: every object on offer, the six models, and back from a model file."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.models import import_keras, model_summary, save_model
from stages.support.architecture import Architecture
from stages.support.errors import PipelineError
from stages.support.params import load_params

from .conftest import TUTORIALS
from .keras_objects import DATASET, example, names

MNIST = Dataset(dataset="MNIST", classes=10, image=(28, 28, 1), count=60_000)
# The tutorials' own model.summary()
PARAMETERS = {
    "mlp_256": 203_530,
    "mlp_1000": 795_010,
    "mlp_1000_dropout": 795_010,
    "mlp_1000x2_dropout": 1_796_010,
    "cnn": 1_608_778,
    "cnn_1x28x28": 68_266,
}
HEAD = [{"Dense": {"units": "classes", "activation": "softmax"}}]
FIT = {"epochs": 3, "batch_size": 100}


def built(*layers: object, fit: dict = FIT, **compile_: object) -> object:
    """A model of these layers and a head, for MNIST."""
    content = {"layers": [*layers, *HEAD], "compile": compile_, "fit": fit}
    return build_model("one", Architecture.model_validate(content), MNIST)


@pytest.mark.parametrize(("kind", "name"), names(), ids=map(".".join, names()))
def test_every_object_on_offer_is_built_and_loaded(kind: str, name: str) -> None:
    built_model = build_model("one", Architecture.model_validate(example(kind, name)), DATASET)
    model = type(built_model).from_config(built_model.get_config())
    model.compile_from_config(built_model.get_compile_config())
    made = [*model.layers, model.optimizer, model.loss, model.optimizer._learning_rate]
    made += [value for layer in model.layers for value in vars(layer).values()]
    named = {name for each in made for name in (type(each).__name__, getattr(each, "__name__", ""))}
    assert name in named or (kind in ("activation", "initializer") and name[0].islower()), "Keras's short names"


def test_arguments_are_passed_to_keras_however_deep() -> None:
    rate = {"CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": 7}}
    model = built(
        {"Conv2D": {"filters": 3, "kernel_size": [5, 4], "kernel_regularizer": {"L2": {"l2": 0.25}}}},
        {"Conv2D": {"filters": "classes", "kernel_size": 1, "kernel_initializer": {"VarianceScaling": {"scale": 3}}}},
        "Flatten",
        optimizer={"AdamW": {"learning_rate": rate, "use_ema": True, "ema_momentum": 0.75}},
        loss={"CategoricalCrossentropy": {"label_smoothing": 0.125}},
    )
    _, first, second, *_ = model.layers
    assert (first.kernel_size, first.kernel_regularizer.l2, second.filters) == ((5, 4), 0.25, MNIST.classes)
    assert second.kernel_initializer.scale == 3
    assert model.optimizer._learning_rate.decay_steps == 7
    assert (model.optimizer.use_ema, model.optimizer.ema_momentum) == (True, 0.75)
    assert model.loss.get_config()["label_smoothing"] == 0.125


# layers, the line
MISTAKES = [
    ([], "layers: expected the output shape (None, 10), found (None, 28, 28, 10); end the layers with Flatten"),
    (["Flatten", {"Dense": {"units": -3}}], "layers[1].Dense: Keras says: Received an invalid value for `units`"),
    ([{"Dropout": {"rate": 2}}], "layers[0].Dropout: Keras says: Invalid value received for argument `rate`"),
    ([{"Reshape": {"target_shape": [1, 2, 3]}}], "layers[0].Reshape: Keras says: The total size of the tensor must be"),
    ([{"Conv2D": {"filters": 2, "kernel_size": 29}}], "layers[0].Conv2D: Keras says: Computed output size would be"),
    (["Flatten", "MaxPooling2D"], "layers[1].MaxPooling2D: Keras says: Input 0"),
    ([{"Add": {"branches": [[], [{"Conv2D": {"filters": 2, "kernel_size": 2}}]]}}],
     "layers[0].Add: Keras says: Inputs have incompatible shapes"),
    ([{"Add": {"branches": [[], ["Flatten", "MaxPooling2D"]]}}],
     "layers[0].Add.branches[1][1].MaxPooling2D: Keras says: Input 0"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "line"), MISTAKES, ids=[str(line)[:40] for _, line in MISTAKES])
def test_what_keras_refuses_is_one_line_that_names_the_key(layers: list, line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        built(*layers)
    assert str(caught.value).startswith(f"params.yaml: architectures.one.{line}")
    assert not re.search(r"[\n\x1b]", str(caught.value))


def test_branches_are_applied_to_the_same_input_and_merged() -> None:
    scaled = [{"Rescaling": {"scale": 2}}]
    model = built(
        {"Add": {"branches": [[], scaled, [*scaled, *scaled]]}}, {"AveragePooling2D": {"pool_size": 28}}, "Flatten"
    )
    inner = import_keras().Model(model.inputs[0], model.get_layer("add").output)
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(inner(images), images * (1 + 2 + 4), rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"CosineDecay": {"initial_learning_rate": 1.0}}, {0: 1, 900: 0.5, 1800: 0}),
        ({"CosineDecay": {"initial_learning_rate": 0.0, "warmup_target": 1.0, "warmup_steps": "1 epoch"}},
         {0: 0, 300: 0.5, 600: 1, 1200: 0.5, 1800: 0}),
        ({"PolynomialDecay": {"initial_learning_rate": 1.0, "decay_steps": "1.5 epochs", "end_learning_rate": 0.0}},
         {450: 0.5, 900: 0}),
        ({"PolynomialDecay": {"initial_learning_rate": 1.0, "decay_steps": 100, "end_learning_rate": 0.0}}, {50: 0.5}),
        ({"PiecewiseConstantDecay": {"boundaries": ["1 epoch", "2 epochs"], "values": [3.0, 2.0, 1.0]}},
         {600: 3, 601: 2, 1200: 2, 1201: 1}),
    ],
)  # fmt: skip
def test_a_schedule_is_in_steps_or_epochs_and_decays_over_the_training(schedule: dict, rates: dict) -> None:
    model = built("Flatten", optimizer={"SGD": {"learning_rate": schedule}})  # 600 steps an epoch
    found = model.optimizer._learning_rate
    assert {step: float(found(step)) for step in rates} == pytest.approx(rates, abs=1e-6)


def test_a_schedule_counts_the_steps_of_the_images_that_are_not_held_out() -> None:
    rate = {"CosineDecay": {"initial_learning_rate": 1.0}}
    model = built("Flatten", fit=FIT | {"validation_split": 0.5}, optimizer={"SGD": {"learning_rate": rate}})
    assert model.optimizer._learning_rate.get_config()["decay_steps"] == 900


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
