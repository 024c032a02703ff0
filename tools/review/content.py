"""What a review says: all of it, before it becomes a page."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tools.common.changes import WORSE, Change, changes, data_change
from tools.common.comparison import stale_tables
from tools.common.revision import Revision, git
from tools.review.dvc_diff import Difference, differences
from tools.review.reproduced import read_reproduced
from tools.review.stages import stage_changes, stale

GATES = ("regression", "stale")


@dataclass(frozen=True)
class Review:
    """Two revisions compared. `other_data` says how the data set differs; then no results are compared.

    `stale` and `base_stale` say why a side's dvc.lock does not match its params, code and results; `stale_tables`,
    which tables of the overview the head's results do not give; `reproduced`, of what was run again, in what it differs
    from what the head records, "" where in nothing.
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
    base_ahead: int
    reproduced: dict[str, str]

    @classmethod
    def of(cls, base: Revision, head: Revision, confidence: float) -> "Review":
        """Compares two revisions; intervals and tests are at the level `confidence`."""
        other_data = data_change(base, head)
        with ThreadPoolExecutor() as pool:  # of processes that wait for DVC
            params, metrics = (pool.submit(differences, what, base, head) for what in ("params", "metrics"))
            head_stale, base_stale = (pool.submit(stale, revision) for revision in (head, base))
            head_tables = pool.submit(stale_tables, head)
            return cls(
                base,
                head,
                confidence,
                other_data,
                changes(base, head),
                params.result(),
                [] if other_data else metrics.result(),
                stage_changes(base, head),
                head_stale.result(),
                base_stale.result(),
                head_tables.result(),
                int(git("rev-list", "--count", f"{head.commit or 'HEAD'}..{base.commit}")),
                read_reproduced(head),
            )

    @property
    def changed(self) -> list[Change]:
        """The architectures with something to tell."""
        return [item for item in self.architectures if item.changed]

    @property
    def differing(self) -> int:
        """The number of architectures whose predictions were tested for a difference."""
        return max((item.several for item in self.architectures), default=0)

    @property
    def headlines(self) -> list[str]:
        """A line for each changed architecture, and one for the others."""
        same = [item.name for item in self.architectures if not item.changed]
        lines = [item.headline(self.confidence) + self._reproduced(item.name) for item in self.changed]
        return lines + ([f"same predictions as in base: {', '.join(same)}"] if same else [])

    @property
    def warnings(self) -> list[str]:
        """What to know before the headlines, a line each."""
        other = [f"the data set changed, so no results are compared: {self.other_data}"] if self.other_data else []
        stale = [f"dvc.lock does not match: {line}" for line in self.stale]
        return other + stale + self.stale_tables + self.not_reproduced

    @property
    def not_reproduced(self) -> list[str]:
        """What was run again and did not give what is recorded, a line each."""
        return [f"{name}: NOT reproduced: {differs}" for name, differs in self.reproduced.items() if differs]

    def _reproduced(self, name: str) -> str:
        differs = self.reproduced.get(name)
        return "" if differs is None else " · NOT reproduced" if differs else " · reproduced"

    def failures(self, gates: list[str]) -> list[str]:
        """Why each gate of `gates` that fails does so, a line each."""
        worse = [item.name for item in self.architectures if item.verdict(self.confidence) == WORSE]
        stale = [f"dvc.lock does not match params, code or results in {self.head}"] if self.stale else []
        found = {
            "regression": [f"significantly worse: {', '.join(worse)}"] if worse else [],
            "stale": stale + [f"{line} (in {self.head})" for line in self.stale_tables],
        }
        return [line for gate in GATES if gate in gates for line in found[gate]]
