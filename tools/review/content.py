"""Compares two revisions: all that a review shows, before it becomes a page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.support.errors import PipelineError
from tools.common.change import WORSE, Change, Comparison
from tools.common.changes import changes, data_change
from tools.common.comparison import stale_tables
from tools.common.revision import Revision, git
from tools.common.unseen import unseen_by_review
from tools.review.differences import ValueChange, metrics_differences, params_differences
from tools.review.reproduced import read_reproduced
from tools.review.stages import stage_changes, stale

GATES = ("regression", "stale")


@dataclass(frozen=True)
class Review:
    """Two revisions compared.

    Attributes:
        confidence: level of the intervals and of the tests' verdicts.
        other_data: how the data set differs; if it does, no results are compared. Empty if it does not.
        architectures: what the change did to each.
        params, metrics: what differs in them.
        stages: the stages that differ in dvc.lock, and in what.
        stale, base_stale: why a side's dvc.lock does not match its params, code and results, a line each.
        stale_tables: the tables of the overview that do not match the head's results, a line each.
        unreadable: what is not compared as a file is damaged, or is not what this project writes, a line each.
        unseen: the places of the head's data set that are not compared with its dvc.lock, a line each.
        base_ahead: the number of commits that the base has and the head lacks.
        reproduced: by architecture that was run again, in what it differs from the head's records; "" if in nothing.
    """

    base: Revision
    head: Revision
    confidence: float
    other_data: str
    architectures: list[Change]
    params: list[ValueChange]
    metrics: list[ValueChange]
    stages: list[tuple[str, str]]
    stale: list[str]
    base_stale: list[str]
    stale_tables: list[str]
    unreadable: list[str]
    unseen: list[str]
    base_ahead: int
    reproduced: dict[str, str]

    @classmethod
    def of(cls, base: Revision, head: Revision, confidence: float) -> "Review":
        """Compares two revisions."""
        unreadable: list[str] = []

        def read(function: Callable[..., Any], otherwise: Any = ()) -> Any:
            """Calls a function with both sides; if it cannot read a file, lists that and goes on."""
            try:
                return function(base, head)
            except PipelineError as error:
                unreadable.append(str(error))
                return otherwise

        other_data = read(data_change, otherwise="")
        architectures = changes(base, head)
        metrics, damaged = read(metrics_differences, otherwise=((), ()))
        return cls(
            base,
            head,
            confidence,
            other_data,
            architectures,
            read(params_differences),
            [] if other_data else metrics,
            read(stage_changes),
            stale(head),
            stale(base),
            stale_tables(head),
            list(dict.fromkeys([*unreadable, *damaged])),
            unseen_by_review(head),
            int(git("rev-list", "--count", f"{head.commit or 'HEAD'}..{base.commit}")),
            read_reproduced(head),
        )

    @property
    def changed(self) -> list[Change]:
        """The architectures in which anything differs."""
        return [item for item in self.architectures if item.changed]

    @property
    def unchanged(self) -> list[str]:
        """The names of the others: every prediction and probability is as in the base."""
        return [item.name for item in self.architectures if not item.changed]

    @property
    def compared(self) -> list[Comparison]:
        """Those of the changed architectures whose predictions are compared."""
        return [item for item in self.changed if isinstance(item, Comparison)]

    @property
    def shows_reruns(self) -> bool:
        """Whether one of the changed architectures was run again."""
        return any(self.rerun(item.name) for item in self.changed)

    @property
    def summaries(self) -> list[str]:
        """A line for each changed architecture, and one for the others."""
        lines = [
            ", ".join(filter(None, [item.summary(self.confidence), self.rerun(item.name)])) for item in self.changed
        ]
        return lines + ([f"same predictions as in base: {', '.join(self.unchanged)}"] if self.unchanged else [])

    def rerun(self, name: str) -> str:
        """Returns whether an architecture was reproduced; empty if it was not run again."""
        differs = self.reproduced.get(name)
        return "" if differs is None else "NOT reproduced" if differs else "reproduced"

    @property
    def warnings(self) -> list[str]:
        """What to know before the summaries, a line each."""
        other = [f"the data set changed, so no results are compared: {self.other_data}"] if self.other_data else []
        stale = [f"dvc.lock does not match: {line}" for line in self.stale]
        unreadable = [f"not compared: {line}" for line in self.unreadable]
        return other + unreadable + stale + self.unseen + self.stale_tables + self.not_reproduced

    @property
    def not_reproduced(self) -> list[str]:
        """The architectures that gave other results when they were run again, a line each."""
        return [f"{name}: NOT reproduced: {differs}" for name, differs in self.reproduced.items() if differs]

    def failures(self, gates: list[str]) -> list[str]:
        """Lists which of these gates fail, and why, a line each."""
        lines = []
        if "regression" in gates:
            worse = ", ".join(item.name for item in self.architectures if item.verdict(self.confidence) == WORSE)
            broken = ", ".join(item.name for item in self.architectures if item.broken)
            lines += [f"significantly worse: {worse}"] if worse else []
            lines += [f"predictions that cannot be read: {broken}"] if broken else []
        if "stale" in gates:
            lines += [f"dvc.lock does not match params, code or results in {self.head}"] if self.stale else []
            lines += [f"{line} (in {self.head})" for line in self.stale_tables]
        return lines
