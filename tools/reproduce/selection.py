"""Tells which architectures and ensembles a commit changes, and so have to be rerun."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.support.errors import PipelineError
from stages.support.notation import explain
from stages.support.params import Ensemble
from tools.common import results
from tools.common.lock import digests, owner, stages_of
from tools.common.predictions import names_of, section, seeds_of
from tools.common.revision import Revision, git

SHARED_FILES = ("dvc.yaml",)  # and the modules that stages depend on


def changed(base: Revision, head: Revision) -> list[str]:
    """The architectures and ensembles whose params, dvc.lock entries, results or members differ.

    All of them if something shared differs, such as the seeds.
    """
    old, new = (_entries(revision) for revision in (base, head))
    files = git("diff", "--name-only", "--relative", "-z", base.commit, head.commit).decode().split("\0")
    written = {out: stage for stage, entry in new.items() for out in digests(entry, "outs")}
    read = {dep for entry in new.values() for dep in digests(entry, "deps")}
    differing = {stage for stage, entry in new.items() if entry != old.get(stage)}
    differing |= {stage for out, stage in written.items() if any(Path(file).is_relative_to(out) for file in files)}
    shared = {*SHARED_FILES, *(dep for dep in read if not any(Path(out).is_relative_to(dep) for out in written))}
    before, after = base.params(), head.params()
    sections = [key for key in before | after if key not in ("architectures", "ensembles", "overview")]
    names = names_of(head)
    if (
        any("@" not in stage for stage in differing)
        or any(Path(file).is_relative_to(path) for file in files for path in shared)
        or any(before.get(key) != after.get(key) for key in sections)
    ):
        return names
    found = {owner(stage, names) for stage in differing}
    known, given = (section(side, "architectures") | section(side, "ensembles") for side in (base, head))
    found |= {name for name in names if given[name] != known.get(name)}
    found |= {name for name in section(head, "ensembles") if any(member in found for member, _ in members(head, name))}
    return [name for name in names if name in found]


def _entries(revision: Revision) -> dict[str, Any]:
    """Entries of dvc.lock, without the evaluations of all architectures, on which DVC has each ensemble depend."""
    entries = stages_of(revision)
    for entry in entries.values():
        entry["deps"] = [dep for dep in entry.get("deps", []) if dep["path"] != str(results.EVALUATIONS)]
    return entries


def members(revision: Revision, name: str) -> list[tuple[str, int]]:
    """The architecture and seed of each model of an ensemble."""
    try:
        ensemble = Ensemble.model_validate(section(revision, "ensembles")[name])
    except ValidationError as error:
        raise PipelineError(f"params.yaml in {revision}: ensembles.{name}: {explain(error.errors()[0])}") from error
    return ensemble.models(list(seeds_of(revision)))
