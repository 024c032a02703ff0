"""A search space: an architecture, in which `{choice: [...]}` and `{range: [...]}` stand for values."""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from stages.support.errors import PipelineError, unreadable
from stages.support.keras_api import BRANCHES
from stages.support.notation import explain, found_value
from stages.support.params import Params
from stages.support.yaml import read_yaml

SIGNIFICANT_DIGITS = 3  # of a float, so that the winner can be read
MAX_LABEL = 15  # characters
KERAS_NAME = r"'([A-Z]\w+)'"

Options = CategoricalDistribution | IntDistribution | FloatDistribution
Pick = Callable[[str, Options], Any]  # gets a path such as layers[0].Conv2D.filters; returns an option or a number


def ends(options: Options) -> list[Any]:
    """Returns all options of a choice, or both limits of a range."""
    return list(options.choices) if isinstance(options, CategoricalDistribution) else [options.low, options.high]


def _label(index: int, option: Any) -> Any:
    """Returns an option as Optuna takes it: of mappings and lists, the number and the Keras objects in it."""
    if not isinstance(option, dict | list):
        return option
    return textwrap.shorten(f"{index}: {' '.join(re.findall(KERAS_NAME, str(option)))}", MAX_LABEL, placeholder=" …")


@dataclass(frozen=True)
class Space:
    """The architecture of a file, with its choices and ranges.

    Args:
        path: the file.
        name: of the architecture.
        block: what params.yaml has below the name, with choices and ranges in place of values.
    """

    path: Path
    name: str
    block: Any

    @classmethod
    def read(cls, path: Path) -> "Space":
        """Reads a file with one architecture. Raises `PipelineError` if it is something else."""
        with unreadable(path, "YAML"):
            content = read_yaml(path)
        if not isinstance(content, dict) or len(content) != 1:
            expected = "one architecture, as in params.yaml, such as 'my_cnn: {layers: …, fit: …}'"
            raise PipelineError(f"{path}: expected {expected}, found {found_value(content)}")
        name, block = next(iter(content.items()))
        return cls(path, name, block)

    def filled(self, pick: Pick) -> dict[str, Any]:
        """Returns the block with a value for each choice and range, which `pick` chooses.

        Raises `PipelineError` if a choice or range is not valid.
        """
        return self._fill(self.block, "", pick)

    def check(self, content: dict[str, Any]) -> None:
        """Checks the space within a params.yaml: each option, and both ends of each range.

        Raises `PipelineError` if one is no valid architecture, has no images held out to choose by, or if nothing is
        to be searched.
        """
        untried: dict[str, list[Any]] = {}
        left = [""]
        while left:
            block = self.filled(lambda path, options: untried.setdefault(path, ends(options))[0])
            try:
                params = Params.model_validate(self.alone(content, block, 0))
            except ValidationError as error:
                mistake = explain(error.errors()[0]).removeprefix("architectures.")
                raise PipelineError(f"{self.path}: {mistake}") from error
            if not params.architectures[self.name].fit.validation_split:
                expected = "more than 0, as trials are compared on the images held out"
                raise self._mistake("fit.validation_split", expected, 0)
            left = [path for path, values in untried.items() if len(values) > 1]
            for path in left:
                if not any(other.startswith(f"{path}.choice[") for other in left):  # what is in an option comes first
                    untried[path].pop(0)
        if not untried:
            expected = "expected {choice: […]} or {range: […]} in place of a value, found none"
            raise PipelineError(f"{self.path}: {self.name}: {expected}")

    def alone(self, content: dict[str, Any], block: dict[str, Any], seed: int) -> dict[str, Any]:
        """Returns the content of a params.yaml with this block alone, to be trained with this seed."""
        return {**content, "train": {**content["train"], "seeds": [seed]}, "architectures": {self.name: block}}

    def _fill(self, value: Any, path: str, pick: Pick) -> Any:
        if isinstance(value, list):
            filled: list[Any] = []
            for index, item in enumerate(value):
                content = self._fill(item, f"{path}[{index}]", pick)
                is_choice = isinstance(item, dict) and "choice" in item
                layers = is_choice and isinstance(content, list) and not path.endswith(f".{BRANCHES}")
                filled += content if layers else [content]
            return filled
        if not isinstance(value, dict):
            return value
        if "choice" in value:
            options = self._choice(value, path)
            index = options.choices.index(pick(path, options))
            return self._fill(value["choice"][index], f"{path}.choice[{index}]", pick)
        if "range" in value:
            limits = self._range(value, path)
            number = pick(path, limits)
            if isinstance(limits, IntDistribution):
                return number
            return min(max(float(f"{number:.{SIGNIFICANT_DIGITS}g}"), limits.low), limits.high)
        return {key: self._fill(item, f"{path}.{key}" if path else str(key), pick) for key, item in value.items()}

    def _choice(self, value: dict[str, Any], path: str) -> CategoricalDistribution:
        options = value["choice"]
        if len(value) > 1 or not isinstance(options, list) or len(options) < 2:
            raise self._mistake(path, "{choice: [two or more options]}", value)
        return CategoricalDistribution([_label(index, option) for index, option in enumerate(options)])

    def _range(self, value: dict[str, Any], path: str) -> IntDistribution | FloatDistribution:
        try:
            low, high = value["range"]
            is_whole = isinstance(low, int) and isinstance(high, int)
            kind: Any = IntDistribution if is_whole else FloatDistribution
            return kind(low, high, **{name: setting for name, setting in value.items() if name != "range"})
        except (TypeError, ValueError) as error:
            expected = "{range: [low, high]} of numbers, or {range: [low, high], log: true} of numbers above 0"
            raise self._mistake(path, expected, value) from error

    def _mistake(self, path: str, expected: str, actual: object) -> PipelineError:
        where = f"{self.path}: {self.name}.{path}"
        return PipelineError(f"{where}: expected {expected}, found {found_value(actual)}")
