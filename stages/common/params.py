"""The typed schema of params.yaml.

`load_params()` reads and checks the whole file before a stage does any work. Mistakes raise a
`PipelineError` with one line: the path of the key, what was expected and found, the closest valid
name. `make schema` writes the JSON Schema for editors from the same classes.
"""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.common.defaults import LOSS, OPTIMIZER, VALIDATION_SPLIT
from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.kernels import Kernels
from stages.common.layers import Layer, Shape
from stages.common.notation import Named, Section, by_name, explain, nearest, one_of
from stages.common.yaml import read_yaml

PARAMS_PATH = Path("params.yaml")
SCHEMA_PATH = Path("stages/params.schema.json")

Fraction = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Source(Section):
    """A data set and the places to get it from."""

    dataset: NonEmpty = Field(description="name shown in every metrics file, picture and report")
    sha256: Digest | None = Field(None, description="SHA-256 of the arrays, not of the file; null accepts any")
    places: list[NonEmpty] = Field(
        min_length=1,
        description="tried in order: 'keras:FILE' (in the Keras cache), an http(s) URL, a path, "
        "or 'embedded:digits' (scikit-learn's digits)",
    )


class Data(Section):
    sources: list[Source] = Field(min_length=1, description="tried in order; the first available one is used")


class Samples(Section):
    first: int = Field(ge=0, description="index of the first training image in the picture of samples")
    count: int = Field(ge=1, le=25, description="number of images in the picture of samples")


class Preprocess(Section):
    pixel_max: Annotated[float, Field(gt=0)] = Field(description="pixel value that is scaled to 1.0")
    samples: Samples


def _each_once(seeds: list[int]) -> list[int]:
    for index, seed in enumerate(seeds):
        if seed in seeds[:index]:
            raise _located(f"[{index}]", f"expected each seed once, found {seed} again")
    return seeds


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_each_once)]


class Train(Section):
    seeds: Seeds = Field(
        description="each architecture is trained once with each; a seed decides the initial weights, dropout, and the "
        "order of the images",
    )
    kernels: Kernels = Field(
        description="for train and evaluate: 'portable' gives the same bytes on any x86-64 processor with AVX2; "
        "'native' uses the full speed of this machine, GPU included, and gives other bytes elsewhere"
    )


class Evaluate(Section):
    batch_size: PositiveInt
    decimals: int = Field(ge=1, le=9, description="decimals of recorded metrics and probabilities")


class Published(Section):
    """Accuracies published elsewhere, shown beside ours if the data set is the same."""

    dataset: NonEmpty
    accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]]


class Report(Section):
    confused_pairs: PositiveInt = Field(description="rows in the table of most confused pairs")
    worst_errors: Annotated[int, Field(ge=1, le=100)] = Field(
        description="images in the picture of the most confident errors"
    )
    kept_errors: Annotated[int, Field(ge=25, le=10_000, multiple_of=25)] = Field(
        description="images of the most confident errors kept in git for reviews; a multiple of 25, the images per row"
    )


class Overview(Section):
    confidence: Fraction = Field(description="confidence level of the intervals, such as 0.95")
    published: Published | None = None


class Optimizer(Named):
    """A Keras optimizer (https://keras.io/api/optimizers/)."""


class Adam(Optimizer):
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    beta_1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta_2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-7


class Loss(Named):
    """A Keras loss over one-hot labels and class probabilities (https://keras.io/api/losses/)."""


class CategoricalCrossentropy(Loss):
    pass


class Compile(Section):
    """Arguments of Keras's `model.compile`. The metric is always accuracy."""

    optimizer: one_of(Optimizer) = by_name(Optimizer)[OPTIMIZER].model_construct()
    loss: one_of(Loss) = by_name(Loss)[LOSS].model_construct()


class Fit(Section):
    """Arguments of Keras's `model.fit`."""

    epochs: PositiveInt
    batch_size: PositiveInt
    validation_split: Annotated[float, Field(ge=0, lt=1)] = Field(
        VALIDATION_SPLIT, description="fraction of the training images held out for validation, taken from the end"
    )


class Architecture(Section):
    layers: list[one_of(Layer)] = Field(min_length=1)
    compile: Compile = Compile()
    fit: Fit

    def output_shape(self, image: Shape, classes: int | None) -> Shape:
        """The model's output shape, without the batch axis, for images of shape (height, width, 1).

        Raises `PydanticCustomError`, located at the layer, if a layer cannot take its input or the
        last one does not output `(classes,)`. Unknown sizes are `None`.
        """
        shape = image
        for index, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape, classes)
            except ValueError as error:
                raise _located(f"layers[{index}].{layer.name}", str(error)) from error
        known = classes is not None and None not in shape
        if len(shape) != 1 or (known and shape != (classes,)):
            found = f"found {_with_batch(shape)}"
            hint = "end the layers with Flatten, Dense: {units: classes, activation: softmax}"
            raise _located("layers", f"expected the output shape (None, {classes or 'classes'}), {found}; {hint}")
        return shape

    @model_validator(mode="after")
    def _gives_class_probabilities(self) -> "Architecture":
        self.output_shape((None, None, 1), None)
        last = self.layers[-1]
        found = getattr(last, "activation", None)
        if found != "softmax":
            where = f"layers[{len(self.layers) - 1}].{last.name}.activation"
            raise _located(where, f"expected softmax, for class probabilities, found {found or 'no activation'}")
        return self


def _located(where: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("located", "{message}", {"where": where, "message": message})


def _with_batch(shape: Shape) -> str:
    return "(" + ", ".join(["None", *("?" if size is None else str(size) for size in shape)]) + ")"


ArchitectureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)\d", re.IGNORECASE)  # reserved on Windows: no file can have these names


def _with_seeds(member: Any) -> Any:
    """Writes a member that is a name alone as a mapping; its seeds, `None`, stand for all."""
    if isinstance(member, str):
        return {member: None}
    if not isinstance(member, dict) or not member:
        found = json.dumps(member, default=str)
        raise _located("", f"expected an architecture or {{architecture: [seeds]}}, found {found}")
    return member


Member = Annotated[
    dict[ArchitectureName, Seeds | None],
    BeforeValidator(_with_seeds, json_schema_input_type=ArchitectureName | dict[ArchitectureName, Seeds]),
]


class Ensemble(Section):
    """Trained models whose class probabilities are averaged."""

    members: list[Member] = Field(
        min_length=1, description="architectures, with all of train.seeds; or {architecture: [seeds]} for some of them"
    )

    def models(self, seeds: list[int]) -> list[tuple[str, int]]:
        """The architecture and seed of each model, sorted; `seeds` are all that architectures are trained with."""
        given = [item for member in self.members for item in member.items()]
        return sorted((name, seed) for name, chosen in given for seed in chosen or seeds)


def _check_names(names: Iterable[str]) -> None:
    """Raises `PydanticCustomError`, located at the name, if one is not a valid file name on every system."""
    seen: dict[str, str] = {}
    for name in names:
        if DEVICES.fullmatch(name):
            raise _located(name, "expected a valid file name, found a name that Windows reserves; rename it")
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise _located(name, f"the same file name as '{other}' on macOS and Windows, which ignore case; rename one")


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    preprocess: Preprocess
    train: Train
    evaluate: Evaluate
    report: Report
    overview: Overview
    architectures: dict[ArchitectureName, Architecture] = Field(min_length=1)
    ensembles: dict[ArchitectureName, Ensemble] = Field(description="{} for none")

    @field_validator("architectures")
    @classmethod
    def _names_are_names_everywhere(cls, architectures: dict[str, Architecture]) -> dict[str, Architecture]:
        _check_names(architectures)
        return architectures

    @model_validator(mode="after")
    def _ensembles_have_members(self) -> "Params":
        for name, ensemble in self.ensembles.items():
            try:
                _check_names([*self.architectures, name])
                if name in self.architectures:
                    raise _located("", "expected a name of its own, found that of an architecture")
                self._check_members(ensemble)
            except PydanticCustomError as error:
                where = f"ensembles.{name}{error.context['where'].removeprefix(name)}"
                raise _located(where, error.context["message"]) from error
        return self

    def _check_members(self, ensemble: Ensemble) -> None:
        """Raises `PydanticCustomError`, located at the member, if there is no such model, or if it is there twice."""
        models: set[tuple[str, int]] = set()
        for index, member in enumerate(ensemble.members):
            where = f".members[{index}]"
            for name, seeds in member.items():
                if name not in self.architectures:
                    raise _located(where, f"no architecture '{name}'{nearest(name, self.architectures)}")
                for seed in seeds or self.train.seeds:
                    if seed not in self.train.seeds:
                        raise _located(f"{where}.{name}", f"expected seeds of train.seeds, found {seed}")
                    if (name, seed) in models:
                        raise _located(where, f"expected each model once, found {name} with seed {seed} again")
                    models.add((name, seed))

    @property
    def reported(self) -> list[str]:
        """The names of all architectures and ensembles."""
        return [*self.architectures, *self.ensembles]

    def check_shapes(self, image: Shape, classes: int) -> None:
        """Checks every architecture against the image shape and number of classes of the data."""
        for name, architecture in self.architectures.items():
            try:
                architecture.output_shape(image, classes)
            except PydanticCustomError as error:
                where = f"architectures.{name}.{error.context['where']}"
                raise PipelineError(f"{PARAMS_PATH}: {where}: {error.context['message']}") from error

    def architecture(self, name: str) -> Architecture:
        """The architecture of that name."""
        if name not in self.architectures:
            raise PipelineError(
                f"{PARAMS_PATH}: architectures: no architecture '{name}'{nearest(name, self.architectures)}"
            )
        return self.architectures[name]


def mistake(key: str, expected: object, found: object) -> PipelineError:
    """The error for a value in params.yaml that does not match the data."""
    return PipelineError(f"{PARAMS_PATH}: {key}: expected {expected}, found {found}")


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Reads and checks params.yaml. Raises `PipelineError` for the first mistake."""
    try:
        content = read_yaml(path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror}; run this in the project's folder") from error
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors()
        more = f" (and {len(others)} more)" if others else ""
        raise PipelineError(f"{path}: {explain(first)}{more}") from error


def json_schema() -> str:
    """The JSON Schema of params.yaml, as text."""
    return json.dumps(Params.model_json_schema(), indent=2) + "\n"


@command
def main() -> None:
    """Check params.yaml, or write its JSON Schema for editors."""
    parser = argparse.ArgumentParser(prog="python -m stages.common.params", description=main.__doc__)
    parser.add_argument("--schema", action="store_true", help=f"write {SCHEMA_PATH} instead")
    parser.add_argument(
        "--check", action="store_true", help="with --schema: write nothing, fail if the file is out of date"
    )
    arguments = parser.parse_args()
    if not arguments.schema:
        load_params()
    elif not arguments.check:
        write_text(SCHEMA_PATH, json_schema())
    elif not SCHEMA_PATH.exists() or SCHEMA_PATH.read_text(encoding="utf-8") != json_schema():
        raise PipelineError(f"{SCHEMA_PATH}: out of date with stages/common/params.py; run: make schema")


if __name__ == "__main__":
    main()
