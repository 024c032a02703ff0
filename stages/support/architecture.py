"""The typed schema of an architecture in params.yaml: Keras objects, and the arguments of `compile` and `fit`."""

from typing import Annotated, Literal, cast

from pydantic import Field, PositiveInt, model_validator

from stages.models.defaults import LOSS, MIN_DELTA, MONITOR, OPTIMIZER, VALIDATION_SPLIT
from stages.support.keras_api import KerasObject, OneOf
from stages.support.notation import Section, located

Monitor = Literal["val_loss", "val_accuracy", "loss", "accuracy"]


class Compile(Section):
    """Arguments of Keras's `model.compile`. The metric is always accuracy."""

    optimizer: Annotated[KerasObject, OneOf("optimizer")] = KerasObject("optimizer", OPTIMIZER, {})
    loss: Annotated[KerasObject, OneOf("loss")] = KerasObject("loss", LOSS, {})


class EarlyStopping(Section):
    """Ends a training that no longer improves, as Keras's `EarlyStopping` does. The last weights are kept."""

    patience: PositiveInt = Field(description="epochs without improvement after which the training ends")
    monitor: Monitor = Field(cast("Monitor", MONITOR), description="the figure that must improve")
    min_delta: Annotated[float, Field(ge=0)] = Field(MIN_DELTA, description="a smaller change is no improvement")


class Fit(Section):
    """Arguments of Keras's `model.fit`."""

    epochs: Annotated[int, Field(gt=0, le=1_000_000)]
    batch_size: PositiveInt
    validation_split: Annotated[float, Field(ge=0, lt=1)] = Field(
        VALIDATION_SPLIT, description="fraction of the training images held out for validation, taken from the end"
    )
    class_weight: dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0)]] | None = Field(
        None, description="what an image of a class counts in the loss, such as {8: 2.0}; 1 for classes not named"
    )
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _what_is_monitored_is_there(self) -> "Fit":
        stopping = self.early_stopping
        if stopping and stopping.monitor.startswith("val_") and not self.validation_split:
            message = f"expected a validation_split above 0, as early_stopping monitors {stopping.monitor}"
            raise located("validation_split", f"{message}, found {self.validation_split}")
        return self


class Architecture(Section):
    """A network and its training."""

    layers: list[Annotated[KerasObject, OneOf("layer")]] = Field(min_length=1)
    compile: Compile = Compile()
    fit: Fit

    @model_validator(mode="after")
    def _gives_class_probabilities(self) -> "Architecture":
        last = self.layers[-1]
        activation = last.arguments.get("activation")
        given = activation.name if activation else "no activation"
        if last.name != "Softmax" and given != "softmax":
            where = f"layers[{len(self.layers) - 1}].{last.name}.activation"
            hint = "end the layers with Flatten, Dense: {units: classes, activation: softmax}"
            raise located(where, f"expected softmax, for class probabilities, found {given}; {hint}")
        return self

    def objects(self) -> list[tuple[str, KerasObject]]:
        """Lists all Keras objects, each with its path, such as `layers[0].Dense.kernel_regularizer.L2`."""
        tops = [(f"layers[{index}].{layer.name}", layer) for index, layer in enumerate(self.layers)]
        compiled = self.compile.optimizer, self.compile.loss
        tops += [(f"compile.{value.kind}.{value.name}", value) for value in compiled]
        return [item for where, top in tops for item in top.walk(where)]
