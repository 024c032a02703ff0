"""Compares two revisions: all that a review shows, before it becomes a page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.common.files import read_bytes
from stages.support.errors import PipelineError, with_hint
from stages.support.json import read_as
from tools.common.changes import WORSE, Change, Comparison, changes, data_change
from tools.common.comparison import stale_tables
from tools.common.git import git
from tools.common.results import REPRODUCED
from tools.common.revision import Revision
from tools.common.unseen import unseen_by_review
from tools.review.differences import ValueChange, metrics_differences, params_differences
from tools.review.stages import stage_changes, stale

GATES = ("regression", "stale")


@dataclass(frozen=True)
class Review:
    """Two revisions compared; each text is a line."""

    base: Revision
    head: Revision
    confidence: float  # of the intervals and of the tests' verdicts
    architectures: list[Change]  # what the change did to each
    other_data: str = ""  # how the data set differs; if it does, no results are compared
    params: list[ValueChange] = field(default_factory=list)
    metrics: list[ValueChange] = field(default_factory=list)
    stages: list[tuple[str, str]] = field(default_factory=list)  # that differ in dvc.lock, and in what
    stale: list[str] = field(default_factory=list)  # why the head's dvc.lock does not match
    base_stale: list[str] = field(default_factory=list)
    stale_tables: list[str] = field(default_factory=list)  # of the overview, that do not match the head's results
    unreadable: list[str] = field(default_factory=list)  # what is not compared, as a file is damaged
    unseen: list[str] = field(default_factory=list)  # places of the head's data set that are not compared
    base_ahead: int = 0  # commits that the base has and the head lacks
    reproduced: dict[str, str] = field(default_factory=dict)  # how each differs that was run again; "" if it does not

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
        metrics, damaged = read(metrics_differences, otherwise=((), ()))
        return cls(
            base,
            head,
            confidence,
            changes(base, head),
            other_data,
            params=read(params_differences),
            metrics=[] if other_data else metrics,
            stages=read(stage_changes),
            stale=stale(head),
            base_stale=stale(base),
            stale_tables=stale_tables(head),
            unreadable=list(dict.fromkeys([*unreadable, *damaged])),
            unseen=unseen_by_review(head),
            base_ahead=int(git("rev-list", "--count", f"{head.commit or 'HEAD'}..{base.commit}")),
            reproduced=read_reproduced(head),
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
    def summaries(self) -> list[str]:
        """A line for each changed architecture, and one for the others."""
        both = [(item.summary(self.confidence), self.rerun(item.name)) for item in self.changed]
        same = [f"same predictions as in base: {', '.join(self.unchanged)}"] if self.unchanged else []
        return [", ".join(filter(None, texts)) for texts in both] + same

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
            worse = [item.name for item in self.architectures if item.verdict(self.confidence) == WORSE]
            broken = [item.name for item in self.architectures if item.broken]
            lines += [f"significantly worse: {', '.join(worse)}"] if worse else []
            lines += [f"predictions that cannot be read: {', '.join(broken)}"] if broken else []
        if "stale" in gates:
            lines += [f"dvc.lock does not match params, code or results in {self.head}"] if self.stale else []
            lines += [f"{line} (in {self.head})" for line in self.stale_tables]
        return lines


@dataclass
class _Reproduced:
    commit: str
    results: dict[str, str]


def read_reproduced(head: Revision, path: Path = REPRODUCED) -> dict[str, str]:
    """Reads what `make reproduce` found: for each architecture, what differs from its recorded results.

    Returns {} if there is no such file, or if it is about another commit.
    """
    if not path.is_file():
        return {}
    with with_hint(lambda: "delete it"):
        outcome = read_as(_Reproduced, read_bytes(path), str(path))
    return outcome.results if outcome.commit == head.commit else {}
