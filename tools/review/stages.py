"""Compares dvc.lock with a revision's params, code and results in git, and with another revision's dvc.lock."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stages.data.places import OWN
from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH
from tools.common.definitions import Stage, lookup, stages
from tools.common.lock import LOCK, digests, entries_of, stages_of
from tools.common.revision import Revision
from tools.common.unseen import own_is_missing

PROJECT_FILE = "dvc.yaml"
MAX_LISTED = 4  # stages or files named in a line


def stale(revision: Revision) -> list[str]:
    """Lists why a revision's dvc.lock does not match its params, code and results in git; [] if it does.

    Does what `dvc status` does, from git alone, and runs nothing of the revision. Ignores outputs that only DVC's cache
    holds.
    """
    try:
        params = revision.params()
        defined = stages(revision.read_yaml(PROJECT_FILE), params, f"{PROJECT_FILE} in {revision}")
        recorded = {name: entry for name, entry in entries_of(revision).items() if name in defined}
    except PipelineError as error:
        return [str(error)]
    ignored = {out for stage in defined.values() for out in stage.outs if out not in stage.in_git}
    if own_is_missing(revision):
        ignored.add(str(OWN))

    @cache
    def digest(path: str) -> str:
        if "://" in path:
            raise PipelineError(f"{path} is a URL, which a review does not ask")
        if (md5 := revision.digest(path)) is None:
            raise KeyError(path)
        return md5

    reasons = {
        name: list(_reasons(stage, recorded[name], params, digest, ignored)) if name in recorded else [f"not in {LOCK}"]
        for name, stage in defined.items()
    }
    for name, reason in _broken_links(recorded):
        reasons[name].append(reason)
    return [f"{names}: {lines}" for names, lines in grouped(reasons)]


def _reasons(
    stage: Stage, entry: dict[str, Any], params: dict[str, Any], digest: Callable[[str], str], ignored: set[str]
) -> Iterator[str]:
    """Yields why a stage's entry in dvc.lock does not match; does not look at paths that are `ignored`."""
    if entry.get("cmd") != stage.cmd:
        yield "changed command"
    recorded = entry.get("params", {}).get(str(PARAMS_PATH), {})
    yield from _differing(stage.params, recorded, lambda key: lookup(params, key))
    for paths, kind in ((stage.deps, "deps"), (sorted(stage.in_git), "outs")):
        yield from _differing([path for path in paths if path not in ignored], digests(entry, kind), digest)


def _differing(keys: list[str], recorded: dict[str, Any], read: Callable[[str], Any]) -> Iterator[str]:
    """Yields what differs of these from what was recorded; `read` raises `LookupError` for what is not there."""
    for key in keys:
        try:
            now = read(key)
        except LookupError:
            yield f"{key} deleted"
        except PipelineError as error:
            yield str(error)
        else:
            if key not in recorded:
                yield f"{key} new"
            elif recorded[key] != now:
                yield f"{key} modified"


def _broken_links(entries: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the stages that ran before the stage that writes their input last wrote it."""
    written = {path: digest for stage in entries.values() for path, digest in digests(stage, "outs").items()}
    for name, stage in entries.items():
        for path, digest in digests(stage, "deps").items():
            if digest != written.get(path, digest):
                yield name, f"ran before {path} changed"


def stage_changes(base: Revision, head: Revision) -> list[tuple[str, str]]:
    """Lists the stages that differ between two dvc.lock, and in what: added, removed, or in what they ran on."""
    before, after = stages_of(base), stages_of(head)
    written = {path for entries in (before, after) for entry in entries.values() for path in digests(entry, "outs")}
    written |= {str(folder) for path in written for folder in Path(path).parents}  # a stage may read a folder
    changes = {}
    for name in {**after, **before}:
        if name not in before or name not in after:
            changes[name] = ["added" if name in after else "removed"]
        elif causes := list(_causes(before[name], after[name], written)):
            same = digests(before[name], "outs") == digests(after[name], "outs")
            changes[name] = [*causes, "with the same results"] if same else causes
    return grouped(changes)


def _causes(before: dict[str, Any], after: dict[str, Any], written: set[str]) -> Iterator[str]:
    """Yields what a stage ran on that differs; files that other stages write are together `its inputs`."""
    if before.get("cmd") != after.get("cmd"):
        yield "its command"
    yield from _unequal(*(side.get("params", {}).get(str(PARAMS_PATH), {}) for side in (before, after)))
    files = _unequal(*(digests(side, "deps") for side in (before, after)))
    yield from (path for path in files if path not in written)
    if not written.isdisjoint(files):
        yield "its inputs"


def _unequal(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def grouped(reasons: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Groups stages of one kind (train@…) with the same reasons: pairs of the stages and the reasons."""
    groups = defaultdict(list)
    for stage, lines in reasons.items():
        more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
        if lines:
            groups[stage.partition("@")[0], ", ".join([*lines[:MAX_LISTED], *more])].append(stage)
    return [
        (", ".join(names) if len(names) <= MAX_LISTED else f"{kind} ({len(names)} stages)", lines)
        for (kind, lines), names in groups.items()
    ]
