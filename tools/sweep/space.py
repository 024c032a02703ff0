"""A search space: an architecture, in which `{choice: [...]}` and `{range: [...]}` stand for values."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.support.errors import PipelineError
from stages.support.keras_api import BRANCHES
from stages.support.notation import explain, found_value
from stages.support.params import Params
from stages.support.yaml import read_yaml

DIGITS = 3  # significant ones of a float, so that the winner can be read


@dataclass(frozen=True)
class Choice:
    """One of some options: values, whole Keras objects, or lists of layers, which are put in place of the choice."""

    options: list[Any]

    @property
    def labels(self) -> list[Any]:
        """Names the options for Optuna: by their values, or by number and name, as Optuna takes no mappings."""
        return [
            textwrap.shorten(f"{index}: {_name(option)}", 30, placeholder=" …")
            if isinstance(option, (dict, list, Choice, Range))
            else option
            for index, option in enumerate(self.options)
        ]

    @property
    def ends(self) -> list[int]:
        """The numbers of all options."""
        return list(range(len(self.options)))


@dataclass(frozen=True)
class Range:
    """A number between two limits, which it may equal: whole if both are, else rounded to `DIGITS`."""

    low: float
    high: float
    log: bool

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[float]:
        """Both limits."""
        return [self.low, self.high]

    def rounded(self, value: float) -> float:
        """Rounds a value between the limits as the block gets it."""
        return value if self.is_whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Pick = Callable[[str, Choice | Range], Any]  # the number of an option, or a number in the range


@dataclass(frozen=True)
class Space:
    """The architecture of a file, with its choices and ranges.

    Args:
        path: the file.
        name: of the architecture.
        block: what params.yaml has below the name, with `Choice` and `Range` in place of values.
    """

    path: Path
    name: str
    block: Any

    @classmethod
    def read(cls, path: Path) -> "Space":
        """Reads a file with one architecture. Raises `PipelineError` if a choice or range is not valid."""
        try:
            content = read_yaml(path)
        except OSError as error:
            raise PipelineError(f"{path}: cannot read: {error.strerror}") from error
        if not isinstance(content, dict) or len(content) != 1:
            expected = "one architecture, as in params.yaml, such as 'my_cnn: {layers: …, fit: …}'"
            raise PipelineError(f"{path}: expected {expected}, found {found_value(content)}")
        name, block = next(iter(content.items()))
        return cls(path, name, _parse(block, f"{path}: {name}"))

    def filled(self, pick: Pick) -> dict[str, Any]:
        """Returns the block with a value for each choice and range, which `pick` chooses by its path."""
        return _fill(self.block, pick, "")

    def check(self, content: dict[str, Any]) -> None:
        """Checks the space within a params.yaml, each option and both ends of each range once.

        Raises `PipelineError` if one is no valid architecture, has no images held out to choose by, or if nothing is
        to be searched.
        """
        untried: dict[str, list[Any]] = {}

        def pick(path: str, options: Choice | Range) -> Any:
            left = untried.setdefault(path, options.ends)
            return left.pop(0) if len(left) > 1 else left[0]

        tried = None
        while tried != (tried := {path: len(left) for path, left in untried.items()}):
            block = self.filled(pick)
            if not untried:
                expected = "{choice: […]} or {range: […]} in place of a value"
                raise PipelineError(f"{self.path}: {self.name}: expected {expected}, found none")
            architecture = self.params(content, block).architectures[self.name]
            if not architecture.fit.validation_split:
                where = f"{self.path}: {self.name}.fit.validation_split"
                raise PipelineError(f"{where}: expected more than 0, as trials are compared on the images held out")

    def params(self, content: dict[str, Any], block: dict[str, Any]) -> Params:
        """Checks a params.yaml that has this block alone. Raises `PipelineError` for the first mistake."""
        try:
            return Params.model_validate(self.alone(content, block, [0]))
        except ValidationError as error:
            raise PipelineError(f"{self.path}: {explain(error.errors()[0]).removeprefix('architectures.')}") from error

    def alone(self, content: dict[str, Any], block: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
        """Returns the content of a params.yaml with this block alone, to be trained with these seeds."""
        train = {**content["train"], "seeds": seeds}
        return {**content, "train": train, "architectures": {self.name: block}}


def _parse(value: Any, where: str) -> Any:
    """Puts a `Choice` or `Range` in place of each mapping that stands for one."""
    if isinstance(value, list):
        return [_parse(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "choice" in value:
        return _choice(value, where)
    if "range" in value:
        return _range(value, where)
    return {key: _parse(item, f"{where}.{key}") for key, item in value.items()}


def _choice(value: dict[str, Any], where: str) -> Choice:
    options = value["choice"]
    if len(value) > 1 or not isinstance(options, list) or len(options) < 2:
        raise PipelineError(f"{where}: expected {{choice: [two or more options]}}, found {found_value(value)}")
    choice = Choice([_parse(option, f"{where}.choice[{index}]") for index, option in enumerate(options)])
    for index, label in enumerate(choice.labels):
        if label in choice.labels[:index]:
            raise PipelineError(f"{where}.choice[{index}]: expected each option once, found {found_value(label)} again")
    return choice


def _name(option: Any) -> str:
    """Names an option's layers or other Keras objects, without their arguments."""
    match option:
        case Choice() | Range():
            return "searched"
        case dict():
            return ", ".join(map(str, option))
        case list():
            return ", ".join(map(_name, option)) or "none"
    return str(option)


def _range(value: dict[str, Any], where: str) -> Range:
    limits, log = value["range"], value.get("log", False)
    if set(value) - {"range", "log"} or not isinstance(log, bool) or not _are_limits(limits, log):
        expected = "{range: [low, high]} of numbers, or {range: [low, high], log: true} of numbers above 0"
        raise PipelineError(f"{where}: expected {expected}, found {found_value(value)}")
    low, high = limits
    return Range(low, high, log)


def _are_limits(limits: Any, log: bool) -> bool:
    numbers = isinstance(limits, list) and len(limits) == 2 and all(type(limit) in (int, float) for limit in limits)
    return numbers and limits[0] < limits[1] < float("inf") and limits[0] > (0 if log else -float("inf"))


def _fill(value: Any, pick: Pick, path: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, pick, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        filled: list[Any] = []
        for index, item in enumerate(value):
            content = _fill(item, pick, f"{path}[{index}]")
            layers = isinstance(item, Choice) and isinstance(content, list) and not path.endswith(f".{BRANCHES}")
            filled += content if layers else [content]
        return filled
    if isinstance(value, Range):
        return value.rounded(pick(path, value))
    if isinstance(value, Choice):
        index = pick(path, value)
        return _fill(value.options[index], pick, f"{path}.choice[{index}]")
    return value
