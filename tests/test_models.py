"""From params.yaml's data to Keras: every object on offer, the six models, and back from a model file."""

import io
import re
import sys
import zipfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.models import building, portable
from stages.models.building import build_model, load_model
from stages.models.models import import_keras, model_summary, save_model
from stages.support.architecture import Architecture
from stages.support.errors import PipelineError
from stages.support.params import load_params

from .conftest import TUTORIALS
from .keras_objects import DATASET, example, names

MNIST = Dataset(dataset="MNIST", classes=10, image=(28, 28, 1), count=60_000)
PARAMETERS = {  # the tutorials' own model.summary()
    "mlp_256": 203_530,
    "mlp_1000": 795_010,
    "mlp_1000_dropout": 795_010,
    "mlp_1000x2_dropout": 1_796_010,
    "cnn": 1_608_778,
    "cnn_1x28x28": 68_266,
}
FIT = {"epochs": 3, "batch_size": 100}


def architecture(*layers: object, fit: dict = FIT, **compile_: object) -> Architecture:
    head = {"Dense": {"units": "classes", "activation": "softmax"}}
    return Architecture.model_validate({"layers": [*layers, head], "compile": compile_, "fit": fit})


def built(*layers: object, fit: dict = FIT, **compile_: object) -> object:
    """A model of these layers and a head, for MNIST."""
    return build_model("one", architecture(*layers, fit=fit, **compile_), MNIST)


@pytest.mark.parametrize(("kind", "name"), names(), ids=map(".".join, names()))
def test_every_object_on_offer_is_built_and_loaded(kind: str, name: str) -> None:
    built_model = build_model("one", Architecture.model_validate(example(kind, name)), DATASET)
    model = type(built_model).from_config(built_model.get_config())
    model.compile_from_config(built_model.get_compile_config())
    made = [*model.layers, model.optimizer, model.loss, model.optimizer._learning_rate]
    made += [value for layer in model.layers for value in vars(layer).values()]
    made_names = {name for value in made for name in (type(value).__name__, getattr(value, "__name__", ""))}
    assert name in made_names or (kind in ("activation", "initializer") and name[0].islower()), "Keras's short names"


def test_arguments_are_passed_to_keras_however_deep() -> None:
    rate = {"CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": 7}}
    model = built(
        {"Conv2D": {"filters": 3, "kernel_size": [5, 4], "kernel_regularizer": {"L2": {"l2": 0.25}}}},
        {"Conv2D": {"filters": "classes", "kernel_size": 1, "kernel_initializer": {"VarianceScaling": {"scale": 3}}}},
        "Flatten",
        {"Dense": {"units": 5, "kernel_constraint": {"MaxNorm": {"max_value": 4}}}},
        optimizer={"AdamW": {"learning_rate": rate, "use_ema": True, "ema_momentum": 0.75}},
        loss={"CategoricalCrossentropy": {"label_smoothing": 0.125}},
    )
    _, first, second, _, third, _ = model.layers
    assert (first.kernel_size, first.kernel_regularizer.l2, second.filters) == ((5, 4), 0.25, MNIST.classes)
    assert second.kernel_initializer.scale == 3
    assert third.kernel_constraint.max_value == 4
    assert model.optimizer._learning_rate.decay_steps == 7
    assert (model.optimizer.use_ema, model.optimizer.ema_momentum) == (True, 0.75)
    assert model.loss.get_config()["label_smoothing"] == 0.125
    assert model.name == "one"
    assert model._compile_metrics._user_metrics == ["accuracy"]


# layers, the line
MISTAKES = [
    ([], "layers: expected the output shape (None, 10), found (None, 28, 28, 10); end the layers with Flatten, Dense"),
    (["Flatten", {"Dense": {"units": -3}}], "layers[1].Dense: Keras says: Received an invalid value for `units`"),
    ([{"Conv2D": {"filters": 2, "kernel_size": 29}}], "layers[0].Conv2D: Keras says: Computed output size would be"),
    (["Flatten", "MaxPooling2D"], "layers[1].MaxPooling2D: Keras says: Input 0"),
    ([{"Add": {"branches": [[], ["Flatten", "MaxPooling2D"]]}}],
     "layers[0].Add.branches[1][1].MaxPooling2D: Keras says: Input 0"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "line"), MISTAKES, ids=[str(line)[:40] for _, line in MISTAKES])
def test_what_keras_refuses_is_one_line_that_names_the_key(layers: list, line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        built(*layers)
    assert str(caught.value).startswith(f"params.yaml: architectures.one.{line}")
    assert not re.search(r"[\n\x1b]|Arguments received|Exception encountered", str(caught.value))


RATE = {"SGD": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 1.0}}}}


@pytest.mark.parametrize(
    ("module", "name", "layers", "compile_", "where"),
    [
        ("optimizers", "SGD", [], {"optimizer": "SGD"}, "compile.optimizer.SGD"),
        ("losses", "Huber", [], {"loss": "Huber"}, "compile.loss.Huber"),
        ("regularizers", "L1", [{"Dense": {"units": 2, "kernel_regularizer": "L1"}}], {},
         "layers[1].Dense.kernel_regularizer.L1"),
        ("optimizers.schedules", "CosineDecay", [], {"optimizer": RATE},
         "compile.optimizer.SGD.learning_rate.CosineDecay"),
    ],
)  # fmt: skip
def test_what_keras_raises_is_located_and_cut(module, name, layers, compile_: dict, where: str, monkeypatch) -> None:
    for text, line in (
        ("\x1b[1mno\x1b[0m\n such" + 400 * "x" + "\n\nArguments received: (1)", f"no such{293 * 'x'}"),
        ("Exception encountered when calling Dense.call().\n\nwhy", "why"),
        ("", "ValueError"),
    ):
        monkeypatch.setattr(f"keras.{module}.{name}", Mock(side_effect=ValueError(text)))
        with pytest.raises(PipelineError) as caught:
            built("Flatten", *layers, **compile_)
        assert str(caught.value) == f"params.yaml: architectures.one.{where}: Keras says: {line}"


def test_branches_are_applied_to_the_same_input_and_merged_in_their_order() -> None:
    scaled = [{"Rescaling": {"scale": 2}}]
    model = built({"Concatenate": {"branches": [[], scaled, [*scaled, *scaled]]}}, "Flatten")
    inner = import_keras().Model(model.inputs[0], model.get_layer("concatenate").output)
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(inner(images), images * [1, 2, 4], rtol=1e-6)


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
    rate = model.optimizer._learning_rate
    assert {step: float(rate(step)) for step in rates} == pytest.approx(rates, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "split", "warmup", "steps"),
    [(60_000, 0.5, 0, 900), (401, 0.25, 0, 9), (201, 0, 0, 9), (200, 0, 5, 1), (200, 0, 50, 1), (101, 0.01, 0, 3)],
)
def test_a_schedule_counts_the_steps_of_the_images_that_are_not_held_out(count, split, warmup: int, steps: int) -> None:
    rate = {"CosineDecay": {"initial_learning_rate": 1.0, "warmup_steps": warmup}}
    dataset = Dataset("few", 10, (28, 28, 1), count=count)
    one = architecture("Flatten", fit=FIT | {"validation_split": split}, optimizer={"SGD": {"learning_rate": rate}})
    assert build_model("one", one, dataset).optimizer._learning_rate.get_config()["decay_steps"] == steps


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_six_models_have_the_tutorials_parameter_counts(name: str) -> None:
    model = build_model(name, load_params(TUTORIALS).architecture(name), MNIST)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (None, 10)
    assert f"{PARAMETERS[name]:,}" in model_summary(model)


SMALL = architecture(
    "Flatten",
    {"Dense": {"units": 16, "activation": "gelu", "kernel_initializer": "orthogonal"}},
    "BatchNormalization",
    fit={"epochs": 1, "batch_size": 10},
    optimizer={"Adam": {"learning_rate": 0.01}},
)


def test_the_summary_does_not_depend_on_the_terminal_or_earlier_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    wide = model_summary(build_model("small", SMALL, MNIST))
    monkeypatch.setenv("COLUMNS", "45")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert model_summary(build_model("small", SMALL, MNIST)) == wide
    assert max(map(len, wide.splitlines())) == 80


def test_a_saved_model_loads_and_predicts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, decompose = Mock(), Mock(wraps=np.linalg.qr)
    monkeypatch.setattr(building, "choose_kernels", chosen)
    monkeypatch.setattr(np.linalg, "qr", decompose)
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    model = build_model("small", SMALL, MNIST)
    decompose.assert_called_once()  # orthogonal weights come from NumPy
    model.fit(images, np.eye(10, dtype=np.float32)[:5], verbose=0)
    path = tmp_path / "small.keras"
    save_model(model, path)
    with zipfile.ZipFile(path) as archive:
        entries = {(entry.date_time, entry.compress_type) for entry in archive.infolist()}
        assert entries == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)}
        assert b'"date_saved": "1980-01-01@00:00:00"' in archive.read("metadata.json")
        numbers = [int(number) for number in re.findall(rb'"shared_object_id": (\d+)', archive.read("config.json"))]
        assert [*dict.fromkeys(numbers)] == [*range(len(set(numbers)))] != [], "no addresses in memory"
    by_keras = import_keras().saving.load_model(path)
    assert by_keras.optimizer.learning_rate.numpy() == np.float32(0.01)
    np.testing.assert_allclose(by_keras.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5)
    loaded = load_model(path, "small", SMALL, MNIST, "portable")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    chosen.assert_called_once_with("portable")
    assert not loaded.compiled
    assert loaded.layers[2].activation is model.layers[2].activation is portable.gelu
    assert [item.name for item in tmp_path.iterdir()] == ["small.keras"]

    for other in (architecture("Flatten"), load_params(TUTORIALS).architecture("cnn")):
        with pytest.raises(PipelineError, match=r"small.keras: its layers are not those of params.yaml and of the da"):
            load_model(path, "small", other, MNIST, "portable")
