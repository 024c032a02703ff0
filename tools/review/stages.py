"""Compares dvc.lock with a revision's params, code and results in git, and with another revision's dvc.lock."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.common.errors import one_line
from stages.common.params import PARAMS_PATH
from tools.common.lock import LOCK, digests, stages_of
from tools.common.revision import Revision, checked_out

LISTED = 4  # stages or files named in a line, at most


def stale(revision: Revision) -> list[str]:
    """Says why a revision's dvc.lock does not match its params, code and results in git, a line each; [] if it does.

    Ignores outputs that only DVC's cache holds.
    """
    with checked_out(revision) as tree:
        done = subprocess.run(["dvc", "status", "--json"], cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode:
            return [f"dvc status fails: {one_line(done.stderr)}"]
        status = json.loads(done.stdout)
        reasons = {stage: list(_reasons(entries, tree)) for stage, entries in status.items()}
    reasons = {stage: found for stage, found in reasons.items() if found}
    for stage, found in _broken_links(stages_of(revision)):
        reasons.setdefault(stage, []).append(found)
    return [f"{stages}: {found}" for stages, found in grouped(reasons)]


def _reasons(entries: list[Any], tree: Path) -> Iterator[str]:
    """Reads what `dvc status --json` says of one stage, without outputs that only DVC's cache holds."""
    files = [item for entry in entries if isinstance(entry, dict) for kind in entry.values() for item in kind.items()]
    if (str(PARAMS_PATH), "new") in files:
        yield f"not in {LOCK}"
        return
    yield from (entry for entry in entries if isinstance(entry, str))  # "changed command"
    for path, state in files:
        if isinstance(state, dict):
            yield from (f"{key} {how}" for key, how in state.items())
        elif state != "not in cache" and not (state == "deleted" and _ignored(path, tree)):
            yield f"{path} {state}"


def _ignored(path: str, tree: Path) -> bool:
    return not subprocess.run(["git", "check-ignore", "-q", path], cwd=tree, check=False).returncode


def _broken_links(stages: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Finds stages that ran before the stage that writes their input last wrote it."""
    written = {path: digest for stage in stages.values() for path, digest in digests(stage, "outs").items()}
    for name, stage in stages.items():
        for path, digest in digests(stage, "deps").items():
            if digest != written.get(path, digest):
                yield name, f"ran before {path} changed"


def stage_changes(base: Revision, head: Revision) -> list[tuple[str, str]]:
    """Lists the stages that differ between two dvc.lock, and in what: added, removed, or in what they ran on."""
    before, after = stages_of(base), stages_of(head)
    written = {path for stages in (before, after) for stage in stages.values() for path in digests(stage, "outs")}
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
    """Lists what a stage ran on that differs; files that other stages write are together `its inputs`."""
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
    """Groups stages of one kind (train@…) of which the same is said: pairs of the stages and what is said."""
    groups = defaultdict(list)
    for stage, said in reasons.items():
        more = [f"and {len(said) - LISTED} more"] if len(said) > LISTED else []
        groups[stage.partition("@")[0], ", ".join([*said[:LISTED], *more])].append(stage)
    return [(_together(stages), said) for (_, said), stages in groups.items()]


def _together(stages: list[str]) -> str:
    kind = stages[0].partition("@")[0]
    return f"{kind} ({len(stages)} stages)" if len(stages) > LISTED else ", ".join(stages)
