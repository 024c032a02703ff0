"""Layers, losses and schedules of one's own, in stages/models/custom.py: checks, trainings, and what an edit trains."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import stages.models
from stages.common.prepared import Dataset
from stages.models.building import build_model, load_model
from stages.models.checkpoint import Checkpoint
from stages.models.identity import custom_identity
from stages.models.models import import_keras, save_model
from stages.models.training import fit_model
from stages.support import custom_api, keras_api
from stages.support.architecture import Architecture
from stages.support.errors import CUSTOM, PipelineError, anticipated
from stages.support.params import parse_params
from stages.support.yaml import parse_yaml, to_yaml
from tools.schema.__main__ import json_schema

from .conftest import ROOT, TUTORIALS, Project
from .faults import outputs
from .test_identity import summary

DATASET = Dataset("noise", classes=10, image=(8, 8, 1), count=40)
HEAD = {"Dense": {"units": "classes", "activation": "softmax"}}
OWN = '''
import keras


class Base(keras.layers.Layer):
    def __init__(self, filters: int, activation="relu", *, rate: float | None = None, size=3, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(filters, size, use_bias=False)
        self.normalization = keras.layers.BatchNormalization()
        self.activation = keras.activations.get(activation)

    def call(self, inputs):
        return self.activation(self.normalization(self.convolution(inputs)))


class Block(Base):
    """A convolution, normalized."""


class Head(keras.layers.Dense):
    def __init__(self, units: int, **kwargs):
        super().__init__(units=units, **kwargs)


class Focal(keras.losses.Loss):
    def __init__(self, gamma: float = 2.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma

    def call(self, y_true, y_pred):
        wrong = 1 - keras.ops.sum(y_true * y_pred, axis=-1)
        return wrong ** (self.gamma + 1)


class Line(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, start: float, decay_steps: int):
        self.start, self.decay_steps = start, decay_steps

    def __call__(self, step):
        return self.start * (1 - keras.ops.cast(step, "float32") / self.decay_steps)

    def get_config(self):
        return {"start": self.start, "decay_steps": self.decay_steps}


class Helper:
    pass
'''
USES: dict[str, Any] = {
    "layers": [{"Block": {"filters": 4}}, "Flatten", {"Head": {"units": "classes", "activation": "softmax"}}],
    "compile": {"loss": {"Focal": {"gamma": 1.5}}, "optimizer": {"Adam": {"learning_rate": {"Line": {"start": 0.01}}}}},
    "fit": {"epochs": 2, "batch_size": 20},
}
Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes stages/models/custom.py, in a folder aside."""

    def write(text: str) -> None:
        (tmp_path / CUSTOM).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / CUSTOM).write_text(text)
        forget()

    def forget() -> None:
        custom_api.classes.cache_clear()
        keras_api.custom.cache_clear()
        sys.modules.pop("stages.models.custom", None)

    monkeypatch.setattr(custom_api, "ROOT", tmp_path)
    monkeypatch.setattr(stages.models, "__path__", [str((tmp_path / CUSTOM).parent)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    forget()


def parse(architecture: dict[str, Any]) -> Architecture:
    """Checks a params.yaml with an architecture named "own"; returns the architecture."""
    content = parse_yaml(TUTORIALS.read_bytes(), "") | {"architectures": {"own": architecture}}
    return parse_params(to_yaml(content).encode(), "params.yaml").architecture("own")


MISTAKES = {  # of the first layer: the message
    "Blok": ": unknown name 'Blok'; did you mean 'Block'?",
    "Helper": f": expected a Keras layer; Helper in {CUSTOM} extends nothing",
    "Focal": f": expected a Keras layer; Focal in {CUSTOM} extends keras.losses.Loss",
    "Block": ".Block.filters: required key is missing; expected an integer or 'classes'",
    "Block: {filter: 3}": ".Block.filter: unknown key; did you mean 'filters'?",
    "Block: {filters: 3, activation: rell}": ".Block.activation: unknown name 'rell'; did you mean 'relu'?",
}


@pytest.mark.parametrize(("layer", "message"), MISTAKES.items())
def test_a_mistake_in_params_yaml_is_one_line(layer: str, message: str, write: Write) -> None:
    write(OWN)
    with pytest.raises(PipelineError, match=re.escape(f"params.yaml: architectures.own.layers[0]{message}")):
        parse(USES | {"layers": [*parse_yaml(f"- {layer}".encode(), ""), HEAD]})


BROKEN = {  # the text of the file: the message
    "import keras\nclass A(keras.layers.Layer:\n": f"^{CUSTOM}, line 2: ",
    "import keras\nclass Dense(keras.layers.Dense): ...\n": f"^{CUSTOM}, line 2: Keras has a Dense; rename this one$",
    "class A(Layer):\n    def __init__(self, branches): ...\n": f"^{CUSTOM}, line 2: an argument named 'branches'",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_a_file_that_cannot_be_used_is_one_line(text: str, message: str, write: Write) -> None:
    write(text)
    with pytest.raises(PipelineError, match=message):
        parse({"layers": ["Flatten", HEAD], "fit": USES["fit"]})


def trained(architecture: Architecture, folder: Path) -> tuple[Any, np.ndarray]:
    """Builds, trains and saves a model; returns it and its images."""
    import_keras().utils.set_random_seed(10)
    model = build_model("own", architecture, DATASET)
    images = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
    labels = np.eye(10, dtype=np.float32)[np.arange(40) % 10]
    fit_model(model, images, labels, architecture.fit, 10, Checkpoint(folder / "kept.npz", ""), lambda *_: None)
    save_model(model, folder / "10.keras")
    return model, images


def test_a_model_is_trained_saved_and_loaded(write: Write, tmp_path: Path) -> None:
    write(OWN)
    architecture = parse(USES)
    model, images = trained(architecture, tmp_path)
    assert model.optimizer._learning_rate.get_config() == pytest.approx({"start": 0.01, "decay_steps": 4})
    assert model.loss.gamma == 1.5
    assert model.layers[1].normalization.call.func.__name__ == "batch_normalization", "a portable operation"
    loaded = load_model(tmp_path / "10.keras", "own", architecture, DATASET, "native")
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, atol=1e-6)
    other = parse(USES | {"layers": [{"Block": {"filters": 4, "size": 2}}, *USES["layers"][1:]]})
    with pytest.raises(PipelineError, match="its layers are not those of"):
        load_model(tmp_path / "10.keras", "own", other, DATASET, "native")


FAILING = {  # what is put in the place of what in OWN: the message
    "when it is imported": ("keras.layers.Dense", "keras.layrs.Dense", ".layers[0].Block: {file}: module 'keras"),
    "in call": ("(self.convolution(inputs))", "(self.twist(inputs))", ".layers[0].Block: {file}: 'Block' object"),
    "in a loss": ("y_true * y_pred", "y_tru * y_pred", ".compile.loss.Focal: {file}: name 'y_tru' is not defined"),
    "without call": ("def call(self, y_true", "def cal(self, y_true", ".compile.loss.Focal: Keras says: "),
    "without get_config": ("def get_config", "def config", ".Line: Keras says: Learning rate schedule 'Line' must "),
}


@pytest.mark.parametrize(("old", "new", "message"), FAILING.values(), ids=FAILING)
def test_a_mistake_in_the_code_is_one_line_before_the_training(old: str, new: str, message: str, write: Write) -> None:
    assert old in OWN
    write(OWN.replace(old, new))
    line = next((number for number, text in enumerate(OWN.splitlines(), start=1) if old in text), 0)
    with pytest.raises(PipelineError) as caught:
        build_model("own", parse(USES), DATASET)
    assert str(caught.value).startswith("params.yaml: architectures.own.")
    assert message.format(file=f"{CUSTOM}, line {line}") in str(caught.value)


def test_a_mistake_that_shows_in_the_training_is_one_line_too(write: Write, tmp_path: Path) -> None:
    write(OWN.replace("axis=-1)", "axis=-1) * len(y_true)"))  # of which TensorFlow has no value in a graph
    with pytest.raises(TypeError) as caught:
        trained(parse(USES), tmp_path)
    assert anticipated(caught.value).startswith(f"{CUSTOM}, line 31: TypeError: len is not well defined for a symbolic")


def test_editors_know_the_names_after_make_schema(write: Write) -> None:
    before = json_schema()
    assert before == keras_api.SCHEMA_PATH.read_text(), "run: make schema"
    write(OWN)
    editor = jsonschema.Draft202012Validator(json.loads(json_schema()))
    content = parse_yaml(TUTORIALS.read_bytes(), "") | {"architectures": {"own": USES}}
    editor.validate(content)
    for layer in ("Blok", "Block", {"Block": {"filters": 4, "sice": 2}}, {"Block": {"filters": "many"}}):
        content["architectures"] = {"own": USES | {"layers": [layer, HEAD]}}
        assert not editor.is_valid(content)
    write("")
    assert json_schema() == before


def test_the_file_counts_in_the_identity_of_what_names_something_of_it(write: Write) -> None:
    other = parse({"layers": ["Flatten", HEAD], "fit": USES["fit"]})

    def identity(text: str, architecture: Architecture | None = None) -> str:
        write(text)
        return custom_identity(repr(architecture or parse(USES)))

    assert identity(OWN) == identity(f"{OWN}# a comment\n")
    assert identity(OWN) != identity(OWN.replace("gamma + 1", "gamma + 2"))
    assert identity(OWN, other) == identity("", other) == ""


def test_an_edit_trains_only_what_names_something_of_the_file(project: Project, built_project: Project) -> None:
    """With the layer that docs/architectures.md shows."""
    page = (ROOT / "docs/architectures.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (layer,) = re.findall(r"`- (Squash.*?)`", page)
    file = project.path / CUSTOM
    file.write_text(code)
    project.edit(lambda params: params["architectures"]["cnn"]["layers"].insert(1, parse_yaml(layer.encode(), "")))
    done = project.repro()
    assert summary(done.output) == {"mlp_256": "the same as before with seed 10", "cnn": "trained with seed 10"}
    assert {"evaluate@cnn", "evaluate@mlp_256", "report@cnn"} <= done.ran
    assert "report@mlp_256" not in done.ran
    model = "data/models/mlp_256/10.keras"
    assert (project.path / model).read_bytes() == (built_project.path / model).read_bytes()

    before, product = outputs(project), "self.steepness * keras.ops.abs(inputs)"
    assert product in code
    file.write_text(code.replace(product, "keras.ops.abs(inputs) * self.steepness"))  # another code, the same figures
    assert summary(project.repro("train@cnn").output) == {"cnn": "trained with seed 10"}
    changed = {path for path, content in outputs(project).items() if content != before[path]}
    assert changed == {"data/models/cnn/identities.json"}
