"""The typed schema of params.yaml.

`load_params()` reads and checks the whole file before a stage does any work. Mistakes raise a
`PipelineError` with one line: the path of the key, what was expected and found, the closest valid
name. `make schema` writes the JSON Schema for editors from the same classes, and from the installed Keras.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.common.kernels import Kernels
from stages.support.architecture import Architecture
from stages.support.errors import PipelineError
from stages.support.keras_api import why_not_portable
from stages.support.notation import Section, explain, located, nearest
from stages.support.sizes import check_sizes
from stages.support.yaml import parse_yaml

T = TypeVar("T")
PARAMS_PATH = Path("params.yaml")
MOST_MODELS = 10_000  # DVC takes seconds to plan a few hundred

Fraction = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Size = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)]  # pixels


def _none_twice(values: list[T]) -> list[T]:
    """Raises `PydanticCustomError`, located at the value, if one occurs twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise located(f"[{index}]", f"expected each value once, found {value!r} again")
    return values


Names = Annotated[list[NonEmpty], Field(min_length=2), AfterValidator(_none_twice)]


class ImageForm(Section):
    """The form that all pictures of a folder get."""

    size: Size | None = Field(None, description="height and width, in pixels; pictures are scaled to it")
    mode: Literal["L", "RGB"] | None = Field(None, description="'L' for grey, 'RGB' for colours")


class Source(Section):
    """A data set and the places to get it from."""

    dataset: NonEmpty = Field(description="name shown in every metrics file, picture and report")
    sha256: Digest | None = Field(None, description="SHA-256 of the arrays, not of the file; null accepts any")
    places: list[NonEmpty] = Field(
        min_length=1,
        description="tried in order: 'keras:FILE' (in the Keras cache), an http(s) URL, a path such as "
        "'data/own/my.npz' or the folder 'data/own/my', or 'embedded:digits' (scikit-learn's digits)",
    )
    class_names: Names | None = Field(None, description="names of the classes 0, 1, …; null takes those of the data")
    first_label: int = Field(
        0, ge=0, le=255, description="the label of the first class, such as 1 for EMNIST's letters"
    )
    image: ImageForm = Field(
        ImageForm(size=None, mode=None), description="of a folder: the form of its pictures, where theirs differ"
    )
    test_share: Fraction = Field(0.2, description="of a folder without train/ and test/: the share for testing")


class Data(Section):
    sources: list[Source] = Field(min_length=1, description="tried in order; the first available one is used")


class Samples(Section):
    first: int = Field(ge=0, description="index of the first training image in the picture of samples")
    count: int = Field(ge=1, le=25, description="number of images in the picture of samples")


class Preprocess(Section):
    pixel_max: Annotated[float, Field(gt=0)] = Field(description="pixel value that is scaled to 1.0")
    samples: Samples


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_none_twice)]


class Train(Section):
    seeds: Seeds = Field(
        description="each architecture is trained once with each; a seed decides the initial weights, dropout, and the "
        "order of the images"
    )
    kernels: Kernels = Field(
        description="for train and evaluate: 'portable' gives the same bytes on any x86-64 processor with AVX2; "
        "'native' uses the full speed of this machine, GPU included, and gives other bytes elsewhere"
    )


class Evaluate(Section):
    batch_size: Annotated[int, Field(gt=0, le=100_000)]
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


ArchitectureName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    preprocess: Preprocess
    train: Train
    evaluate: Evaluate
    report: Report
    overview: Overview
    architectures: dict[ArchitectureName, Architecture] = Field(min_length=1)

    @field_validator("architectures")
    @classmethod
    def _names_differ_in_more_than_case(cls, architectures: dict[str, Architecture]) -> dict[str, Architecture]:
        seen: dict[str, str] = {}
        for name in architectures:
            if (other := seen.setdefault(name.lower(), name)) != name:
                raise located(name, f"the same file name as '{other}' on macOS and Windows; rename one")
        return architectures

    @model_validator(mode="after")
    def _bytes_are_portable(self) -> "Params":
        for name, architecture in self.architectures.items():
            for where, value in architecture.objects() if self.train.kernels == "portable" else ():
                if why := why_not_portable(value):
                    raise located(f"architectures.{name}.{where}", f"{why}; use another, or train.kernels: native")
        return self

    @model_validator(mode="after")
    def _trainings_fit(self) -> "Params":
        seeds, count = len(self.train.seeds), len(self.train.seeds) * len(self.architectures)
        if count > MOST_MODELS:
            reason = f"as each architecture is trained with each of {seeds:,} seeds"
            raise located("architectures", f"expected at most {MOST_MODELS:,} models, found {count:,}, {reason}")
        for name, architecture in self.architectures.items():
            try:
                check_sizes(architecture)
            except PydanticCustomError as error:
                context = error.context or {}
                raise located(f"architectures.{name}.{context['where']}", context["message"]) from error
        return self

    def architecture(self, name: str) -> Architecture:
        """Returns the architecture of that name. Raises `PipelineError` if there is none."""
        if name not in self.architectures:
            raise PipelineError(
                f"{PARAMS_PATH}: architectures: no architecture '{name}'{nearest(name, self.architectures)}"
            )
        return self.architectures[name]


def mistake(key: str, expected: object, found: object) -> PipelineError:
    """Returns the error for a value in params.yaml that does not match the data."""
    return PipelineError(f"{PARAMS_PATH}: {key}: expected {expected}, found {found}")


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Reads and checks params.yaml. Raises `PipelineError` for the first mistake."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror}") from error
    return parse_params(content, str(path))


def parse_params(content: bytes, name: str) -> Params:
    """Checks the content of a params.yaml. Raises `PipelineError`, which begins with `name`, for the first mistake."""
    try:
        return Params.model_validate(parse_yaml(content, name))
    except ValidationError as error:
        first, *others = error.errors()
        more = f" (and {len(others)} more)" if others else ""
        raise PipelineError(f"{name}: {explain(first)}{more}") from error
