"""Compares dvc.lock with a revision's params, code and results in git, and with another revision's dvc.lock."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages.data.places import OWN
from stages.support.errors import PipelineError
from stages.support.params import PARAMS_PATH
from tools.common.definitions import Stage, lookup, stages
from tools.common.lock import LOCK, digests, entries_of, stages_of
from tools.common.revision import NO_FILES, Revision

PROJECT_FILE = "dvc.yaml"
LISTED = 4  # stages or files named in a line, at most


def stale(revision: Revision) -> list[str]:
    """Lists why a revision's dvc.lock does not match its params, code and results in git; [] if it does.

    Does what `dvc status` does, from git alone, and runs nothing of the revision. Ignores outputs that only DVC's cache
    holds.
    """
    try:
        params = revision.params()
        defined = stages(revision.read_yaml(PROJECT_FILE), params, f"{PROJECT_FILE} in {revision}")
        recorded = {name: entry for name, entry in entries_of(revision).items() if name in defined}
        cached = {out for stage in defined.values() for out in stage.outs if out not in stage.in_git}
        digest = functools.cache(revision.digest)
        reasons = {
            name: list(_reasons(stage, recorded.get(name), params, digest, cached)) for name, stage in defined.items()
        }
    except PipelineError as error:
        return [str(error)]
    for name, reason in _broken_links(recorded):
        reasons[name].append(reason)
    return [f"{names}: {why}" for names, why in grouped({name: each for name, each in reasons.items() if each})]


def _reasons(
    stage: Stage,
    entry: dict[str, Any] | None,
    params: dict[str, Any],
    digest: Callable[[str], str | None],
    cached: set[str],
) -> Iterator[str]:
    """Yields why a stage's entry in dvc.lock does not match; `cached` are outputs that only DVC's cache holds."""
    if entry is None:
        yield f"not in {LOCK}"
        return
    if entry.get("cmd") != stage.cmd:
        yield "changed command"
    recorded = entry.get("params", {}).get(str(PARAMS_PATH), {})
    now = {key: value for key in stage.params for value in _looked_up(params, key)}
    yield from _states(stage.params, recorded, now)
    for paths, key in ((stage.deps, "deps"), (sorted(stage.in_git), "outs")):
        now, readable = {}, []
        for path in paths:
            if "://" in path:
                yield f"{path} is a URL, which a review does not ask"
            elif path not in cached:
                try:
                    md5 = digest(path)
                except PipelineError as error:
                    if path != str(OWN):
                        yield str(error)
                    continue
                if (path, md5) != (str(OWN), NO_FILES):  # else it is not in git; see tools/common/unseen.py
                    now |= {path: md5} if md5 else {}
                    readable.append(path)
        yield from _states(readable, digests(entry, key), now)


def _looked_up(params: dict[str, Any], key: str) -> list[Any]:
    """Looks up the value of a key of params.yaml, if there is one."""
    try:
        return [lookup(params, key)]
    except (KeyError, IndexError, ValueError):
        return []


def _states(keys: list[str], recorded: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Yields which of these are in another state than was recorded."""
    for key in keys:
        if key not in now:
            yield f"{key} deleted"
        elif key not in recorded:
            yield f"{key} new"
        elif recorded[key] != now[key]:
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
    for name in [*after, *(name for name in before if name not in after)]:
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
    old, new = (side.get("params", {}).get(str(PARAMS_PATH), {}) for side in (before, after))
    yield from _unequal(old, new)
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
        more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
        groups[stage.partition("@")[0], ", ".join([*lines[:LISTED], *more])].append(stage)
    return [(_together(stages), lines) for (_, lines), stages in groups.items()]


def _together(stages: list[str]) -> str:
    kind = stages[0].partition("@")[0]
    return f"{kind} ({len(stages)} stages)" if len(stages) > LISTED else ", ".join(stages)
