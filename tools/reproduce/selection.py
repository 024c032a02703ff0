"""Finds the architectures that a commit changes, which have to be rerun."""

from pathlib import Path

from tools.common.lock import digests, stages_of
from tools.common.predictions import architectures_of
from tools.common.revision import Revision, git

SHARED_FILES = ("dvc.yaml",)  # and the modules that stages depend on


def changed(base: Revision, head: Revision) -> list[str]:
    """The architectures whose params, dvc.lock entries or results differ.

    All of them if something shared differs, such as the seeds.
    """
    old, new = (stages_of(revision) for revision in (base, head))
    files = git("diff", "--name-only", "--relative", "-z", str(base.commit), str(head.commit)).decode().split("\0")
    written = {out: stage for stage, entry in new.items() for out in digests(entry, "outs")}
    read = {dep for entry in new.values() for dep in digests(entry, "deps")}
    differing = {stage for stage, entry in new.items() if entry != old.get(stage)}
    differing |= {stage for out, stage in written.items() if any(Path(file).is_relative_to(out) for file in files)}
    shared = {*SHARED_FILES, *(dep for dep in read if not any(Path(out).is_relative_to(dep) for out in written))}
    before, after = base.params(), head.params()
    sections = [key for key in before | after if key not in ("architectures", "overview")]
    names = list(architectures_of(head))
    if (
        any("@" not in stage for stage in differing)
        or any(Path(file).is_relative_to(path) for file in files for path in shared)
        or any(before.get(key) != after.get(key) for key in sections)
    ):
        return names
    known, given = (architectures_of(side) for side in (base, head))
    changed_names = {stage.partition("@")[2] for stage in differing}
    changed_names |= {name for name in names if given[name] != known.get(name)}
    return [name for name in names if name in changed_names]
