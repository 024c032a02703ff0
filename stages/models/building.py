"""Builds Keras models from params.yaml."""

import contextlib
import importlib
import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common.kernels import Kernels, choose_kernels
from stages.common.prepared import Dataset
from stages.models.models import has_layers_of, import_keras, load_weights
from stages.models.portable import initialize_orthogonal, use_portable_operations
from stages.support.architecture import Architecture, Fit
from stages.support.dvc_cache import anew, made_by
from stages.support.errors import CUSTOM, PipelineError, in_custom
from stages.support.keras_api import BRANCHES, CLASSES, EPOCHS, KerasObject, custom, definitions
from stages.support.params import PARAMS_PATH, mistake

if TYPE_CHECKING:
    import keras


class Builder:
    """Makes the Keras objects of an architecture. Keras's own errors become one line with the key's path.

    Args:
        name: the architecture's.
        architecture: as params.yaml has it.
        dataset: the images to train on, or for a model that is not compiled, any of this shape and these classes.
    """

    def __init__(self, name: str, architecture: Architecture, dataset: Dataset) -> None:
        self.name, self.architecture, self.dataset = name, architecture, dataset
        self.keras = import_keras()
        self.modules = {
            "layer": self.keras.layers,
            "optimizer": self.keras.optimizers,
            "loss": self.keras.losses,
            "schedule": self.keras.optimizers.schedules,
            "initializer": self.keras.initializers,
            "regularizer": self.keras.regularizers,
            "constraint": self.keras.constraints,
        }

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, if the dataset is that of the training images."""
        fit = self.architecture.fit
        return math.ceil(train_count(self.dataset.count, fit) / fit.batch_size)

    def model(self) -> "keras.Model":
        """Builds the model."""
        self.keras.utils.clear_session(free_memory=False)  # restarts the numbers in automatic names
        inputs = self.keras.Input(self.dataset.image)
        outputs = self._apply(self.architecture.layers, inputs, "layers")
        if (shape := tuple(outputs.shape)) != (expected := (None, self.dataset.classes)):
            hint = "end the layers with Flatten, Dense: {units: classes, activation: softmax}"
            raise mistake(f"architectures.{self.name}.layers", f"the output shape {expected}", f"{shape}; {hint}")
        return self.keras.Model(inputs, outputs, name=self.name)

    def compile(self, model: "keras.Model") -> None:
        """Compiles the model."""
        compile_ = self.architecture.compile
        model.compile(
            optimizer=self._make(compile_.optimizer, f"compile.optimizer.{compile_.optimizer.name}"),
            loss=self._make(compile_.loss, f"compile.loss.{compile_.loss.name}"),
            metrics=["accuracy"],
        )

    def _apply(self, layers: list[KerasObject], inputs: Any, where: str) -> Any:
        """Applies the layers one after the other; a layer that merges, to the outputs of its branches."""
        for index, entry in enumerate(layers):
            path = f"{where}[{index}].{entry.name}"
            branches = entry.arguments.get(BRANCHES)
            if branches:
                inputs = [
                    self._apply(branch, inputs, f"{path}.{BRANCHES}[{row}]") for row, branch in enumerate(branches)
                ]
            layer = self._make(entry, path)
            with self._located(path):
                inputs = layer(inputs)
        return inputs

    def _make(self, entry: KerasObject, where: str) -> Any:
        module, own = self.modules.get(entry.kind), entry.name in custom(entry.kind)
        if own:
            with self._located(where):
                module = importlib.import_module(CUSTOM.removesuffix(".py").replace("/", "."))
        made = getattr(module, entry.name, None)
        if made is None:  # an activation, or an initializer such as he_normal
            return entry.name  # which Keras finds by name
        arguments = {
            key: self._fill_in(value, entry, f"{where}.{key}")
            for key, value in entry.arguments.items()
            if key != BRANCHES
        }
        with self._located(where):
            if entry.kind == "schedule":
                self._fill_in_decay_steps(entry, arguments)
            result = made(**arguments)
            if own:
                self._try(entry.kind, result)
            return result

    def _try(self, kind: str, own: Any) -> None:
        """Uses an object of custom.py once, where it would else fail during the training or when the model is saved."""
        json.dumps(self.keras.saving.serialize_keras_object(own))
        if kind == "loss":
            own(*[self.keras.ops.one_hot([0], self.dataset.classes)] * 2)
        elif kind == "schedule":
            float(own(self.keras.ops.ones((), "int64")))

    def _fill_in(self, value: Any, owner: KerasObject, where: str) -> Any:
        """Returns the value that Keras takes: makes objects, fills in classes, turns epochs into steps."""
        if isinstance(value, KerasObject):
            return self._make(value, f"{where}.{value.name}")
        if isinstance(value, list):
            return [self._fill_in(item, owner, where) for item in value]
        if owner.kind == "layer" and value == CLASSES:
            return self.dataset.classes
        if owner.kind == "schedule" and isinstance(value, str) and (epochs := EPOCHS.fullmatch(value)):
            return round(float(epochs[1]) * self.steps_per_epoch)
        return value

    def _fill_in_decay_steps(self, schedule: KerasObject, arguments: dict[str, Any]) -> None:
        """Where a schedule is given no `decay_steps`, it decays over the rest of the training, after the warm-up."""
        if "decay_steps" in (definitions("schedule") | custom("schedule"))[schedule.name]["properties"]:
            steps = self.architecture.fit.epochs * self.steps_per_epoch - arguments.get("warmup_steps", 0)
            arguments.setdefault("decay_steps", max(steps, 1))

    @contextlib.contextmanager
    def _located(self, where: str) -> Iterator[None]:
        """Turns what Keras raises for a wrong argument or input into one line."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*unbuilt state")  # of a layer whose error follows
                yield
        except Exception as error:  # Keras has no class of its own for these
            text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("\n\nArguments received")[0]
            text = text.rpartition("Error encountered:\n\n")[2]
            text = re.sub(r"^Exception encountered when calling \S+\.", "", text)
            message = " ".join(text.split())[:300] or type(error).__name__
            who = in_custom(error) or "Keras says"
            raise PipelineError(f"{PARAMS_PATH}: architectures.{self.name}.{where}: {who}: {message}") from error


def build_model(name: str, architecture: Architecture, dataset: Dataset) -> "keras.Model":
    """Builds and compiles a model: images float32 (n, height, width, 1) in, probabilities (n, classes) out.

    Raises `PipelineError` if Keras refuses an argument or the shapes do not fit.
    """
    builder = Builder(name, architecture, dataset)
    model = builder.model()
    builder.compile(model)
    initialize_orthogonal(model)
    use_portable_operations(model)
    return model


def load_model(path: Path, name: str, architecture: Architecture, dataset: Dataset, kernels: Kernels) -> "keras.Model":
    """Builds a model as `build_model` does, not compiled, and gives it the weights that train saved at `path`.

    Raises `PipelineError` if there is no such file, if it is damaged, or if it is the model of another architecture or
    for other data.
    """
    stage = f"train@{name}"
    if not path.is_file():
        raise PipelineError(f"{path}: no such model", anew(stage, path))
    import_keras()
    choose_kernels(kernels)
    model = Builder(name, architecture, dataset).model()
    with made_by(stage, path):
        is_same = has_layers_of(model, path)
    if not is_same:
        raise PipelineError(f"{path}: its layers are not those of params.yaml and of the data", anew(stage))
    with made_by(stage, path):
        load_weights(model, path)
    use_portable_operations(model)
    return model


def train_count(count: int, fit: Fit) -> int:
    """Returns how many of the first images to train on; the rest is held out, as with Keras's `validation_split`."""
    return int(count * (1 - fit.validation_split))
