"""The one module that uses DVC's internals: what no command or documented function of DVC offers.

- `Repo().index.graph`, `repo.stage.collect`, `get_active_graph`, `plan_repro`: which stages `dvc repro` would run for
  given targets, and in which order.
- `stage.changed()`, under `repo.lock`: whether a stage is out of date; its arguments `allow_missing` and `upstream`.
- `outs[].exists`, `outs[].changed_checksum()`: whether an output is in the workspace, and is the recorded one.
- `addressing`, `name`, `path`, `cmd`, `outs[].fs_path` and `outs[].meta.size` of a stage; `PipelineStage`, which
  dvc.lock has entries of.
- `loads_yaml`, `COMPILED_LOCKFILE_SCHEMA`: what DVC accepts as a dvc.lock.

tests/test_dvc_internals.py fails if an upgrade of DVC changes one of them.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from dvc.dvcfile import PROJECT_FILE
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.stage import PipelineStage
from dvc.utils.serialize import loads_yaml
from ruamel.yaml import YAMLError
from tqdm import tqdm
from voluptuous import Invalid

from stages.support.errors import NOT_ALLOWED, PipelineError, one_line
from stages.support.paths import output_path
from tools.common.lock import LOCK, is_in_conflict
from tools.repro.plan import Plan

FOLDERS_HINT = "see that HOME, XDG_CONFIG_HOME and DVC_SITE_CACHE_DIR are folders, where they are set"


def plan(targets: Sequence[str], allow_missing: bool = False) -> Plan:
    """Plans the stages that `dvc repro` would look at, in its order.

    Without targets, as `dvc repro`: for the stages of this folder's dvc.yaml, and what they need elsewhere. If
    `allow_missing`, a stage whose outputs are missing, but which has not changed, runs only if another needs them.
    """
    tqdm.monitor_interval = 0  # else it starts a thread, beside which a process cannot be forked safely
    try:
        with Repo() as repo:
            return _plan(repo, targets, allow_missing)
    except OSError as error:  # such as a home that is no folder
        if error.errno in NOT_ALLOWED:
            raise
        raise PipelineError(f"{error.filename}: DVC cannot read it: {error.strerror}; {FOLDERS_HINT}") from error
    except DvcException as error:
        if is_in_conflict():
            raise PipelineError(f"{LOCK}: a merge conflict", f"run: git checkout --ours {LOCK}, then rerun") from error
        cause = f": {one_line(error.__cause__)}" if error.__cause__ else "; dvc status shows more"
        raise PipelineError(f"{one_line(error)}{cause}") from error


def _plan(repo: Repo, targets: Sequence[str], allow_missing: bool) -> Plan:
    graph = get_active_graph(repo.index.graph)
    order = plan_repro(graph, [stage for target in targets or [PROJECT_FILE] for stage in repo.stage.collect(target)])
    missing: list[str] = []
    upstream: dict[str, set[str]] = {}
    outdated: set[str] = set()
    with repo.lock:
        for stage in order:
            # a folder that an interrupted run left half written counts as missing, not as unchanged
            if not all(out.exists and not out.changed_checksum() for out in stage.outs):
                missing.append(stage.addressing)
            waits_for = list(graph.successors(stage))
            upstream[stage.addressing] = {dep.addressing for dep in waits_for}
            if upstream[stage.addressing] & outdated or stage.changed(allow_missing, waits_for):
                outdated.add(stage.addressing)
    for name in reversed(upstream):  # from those that wait to those that they wait for
        outdated |= upstream[name].intersection(missing) if name in outdated else set()
    recorded: dict[Path, list[str]] = {}
    for stage in order:
        if isinstance(stage, PipelineStage):
            recorded.setdefault(Path(stage.path).with_suffix(LOCK.suffix), []).append(stage.name)
            for out in stage.outs if stage.addressing in outdated else ():
                output_path(os.path.relpath(out.fs_path))  # raises PipelineError if links lead out of the repository
    written = {stage.addressing: sum(out.meta.size or 0 for out in stage.outs) for stage in order}
    commands = {stage.addressing: str(stage.cmd or "") for stage in order}
    return Plan(upstream, outdated, written, commands, missing, recorded)


def is_lock(text: str) -> bool:
    """Whether DVC accepts this text as a dvc.lock."""
    try:
        COMPILED_LOCKFILE_SCHEMA(loads_yaml(text))
    except (YAMLError, Invalid):
        return False
    return True
