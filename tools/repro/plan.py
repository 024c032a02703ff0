"""Lists the stages: which of them may have to run, and which each waits for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """The stages in the order of `dvc repro`.

    Attributes:
        upstream: the stages that each waits for.
        outdated: those that may have to run: they have changed, or one that they wait for may have to run.
        written: bytes that each wrote when it last ran, as dvc.lock has it: a stage with much to write takes long.
        commands: what each runs; "" for a file that `dvc add` tracks, which runs nothing.
        missing: stages of which an output is missing in the workspace, or is another than recorded, in order.
        recorded: the names of the entries of each dvc.lock, in order; there is one beside each dvc.yaml.
    """

    upstream: dict[str, set[str]]
    outdated: set[str]
    written: dict[str, int]
    commands: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    recorded: dict[Path, list[str]] = field(default_factory=dict)

    @staticmethod
    def read(targets: Sequence[str], allow_missing: bool = False) -> "Plan":
        """Plans the targets and what they need, as DVC does. Raises `PipelineError` if DVC cannot.

        If `allow_missing`, unchanged stages whose outputs are missing run only if others need them.
        """
        from tools.repro.dvc_internals import plan  # DVC takes half a second to import

        return plan(targets, allow_missing)

    def trains(self, name: str) -> bool:
        """Whether a stage trains, and so shares out cores among its processes by itself."""
        return "stages.train" in self.commands.get(name, "")

    def dependents(self, name: str) -> set[str]:
        """Returns the stages that wait for this one, directly or not."""
        dependents = {name}
        for stage, waits_for in self.upstream.items():  # upstream first
            if waits_for & dependents:
                dependents.add(stage)
        return dependents - {name}
