"""Gathers all that a review says, before it becomes a page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.support.errors import PipelineError
from tools.common import results
from tools.common.changes import NEW, REMOVED, WORSE, Change, changes, data_change
from tools.common.comparison import stale_tables
from tools.common.revision import Revision, git
from tools.common.unseen import unseen_by_review
from tools.review.differences import Difference, metrics_differences, on_one_side, params_differences
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
    params: list[Difference]
    metrics: list[Difference]
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

        def read(function: Callable[..., Any], *arguments: Any, otherwise: Any = ()) -> Any:
            """What a function returns; if it cannot read a file, it says so and the rest is compared."""
            try:
                return function(*arguments)
            except PipelineError as error:
                unreadable.append(str(error))
                return otherwise

        other_data = read(data_change, base, head, otherwise="")
        architectures = changes(base, head)
        metrics, damaged = read(metrics_differences, base, head, otherwise=((), ()))
        return cls(
            base,
            head,
            confidence,
            other_data,
            architectures,
            read(params_differences, base, head),
            [] if other_data else metrics,
            read(stage_changes, base, head),
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
        """The architectures with something to tell."""
        return [item for item in self.architectures if item.changed]

    @property
    def unchanged(self) -> list[str]:
        """The names of the others: every prediction and probability is as in the base."""
        return [item.name for item in self.architectures if not item.changed]

    @property
    def compared(self) -> list[Change]:
        """Those of the changed architectures whose predictions are compared."""
        return [item for item in self.changed if not item.note]

    @property
    def shows_reruns(self) -> bool:
        """Whether one of the changed architectures was run again."""
        return any(self.rerun(item.name) for item in self.changed)

    @property
    def compared_metrics(self) -> list[Difference]:
        """The metrics that both sides have and that differ."""
        return [item for item in self.metrics if item.in_both]

    @property
    def other_metrics(self) -> list[str]:
        """The metrics that only one side has, a line each, without those of new and removed architectures."""
        apart = {str(results.metrics(item.name)) for item in self.architectures if item.note in (NEW, REMOVED)}
        return on_one_side([item for item in self.metrics if item.path not in apart])

    @property
    def differing(self) -> int:
        """The number of architectures whose predictions were tested for a difference."""
        return max((item.several for item in self.architectures), default=0)

    @property
    def methods(self) -> list[str]:
        """Says what was compared, and how, a sentence each."""
        level = f"{self.confidence:.0%}"
        wilson = "with one seed, or without errors, Wilson's, over other test images"
        said = [f"Below each accuracy: its {level} interval; {wilson}."]
        if any(not item.of_models for item in self.compared):
            said += [
                "With several seeds, intervals, ± and p cover both sources of chance, other seeds and other test "
                "images, and so are about the recipe (Obuchowski and Rockette).",
                "A difference smaller than its ± cannot be told from chance.",
                "Fixed and broke: test images that more than half of the seeds newly get right, or newly get wrong.",
            ]
        if models := [item.name for item in self.compared if item.of_models]:
            said += [
                f"{', '.join(models)}: compares two trained models, not two recipes: there is one on each side (one "
                "seed), and another seed gives another model. Fixed and broke: test images that only the new, or only "
                "the old, model gets right. p: McNemar's exact test on these.",
            ]
        if unequal := [item.name for item in self.compared if item.base.seeds != item.head.seeds]:
            said += [
                f"{', '.join(unequal)}: other seeds than in base. All seeds of each side are compared; what one seed "
                "alone cannot tell, its spread, is taken from the other side."
            ]
        return said + ([f"p is adjusted for {self.differing} architectures (Holm)."] if self.differing > 1 else [])

    @property
    def summaries(self) -> list[str]:
        """A line for each changed architecture, and one for the others."""
        lines = [
            ", ".join(filter(None, [item.summary(self.confidence), self.rerun(item.name)])) for item in self.changed
        ]
        return lines + ([f"same predictions as in base: {', '.join(self.unchanged)}"] if self.unchanged else [])

    def rerun(self, name: str) -> str:
        """Says whether an architecture was reproduced; empty if it was not run again."""
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
        """Says which of these gates fail, and why, a line each."""
        worse = [item.name for item in self.architectures if item.verdict(self.confidence) == WORSE]
        stale = [f"dvc.lock does not match params, code or results in {self.head}"] if self.stale else []
        broken = [item.name for item in self.architectures if item.broken]
        found = {
            "regression": [
                *([f"significantly worse: {', '.join(worse)}"] if worse else []),
                *([f"predictions that cannot be read: {', '.join(broken)}"] if broken else []),
            ],
            "stale": stale + [f"{line} (in {self.head})" for line in self.stale_tables],
        }
        return [line for gate in GATES if gate in gates for line in found[gate]]
