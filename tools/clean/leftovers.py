"""Finds what is left of architectures, seeds and ensembles that params.yaml no longer names."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.support.params import Params
from tools.common import results
from tools.common.lock import LOCK, split

NAME, SEED = "<name>", "<seed>"
PARTS = {NAME: r"(?P<name>[A-Za-z0-9][\w-]*)", SEED: r"(?P<seed>0|[1-9]\d*)", "<table>": r"\w+"}
MODEL_FILES = (".keras", ".txt", ".csv")
CHECKPOINTS = Path(".checkpoints")

OF_REPORTED = (
    results.metrics(NAME),
    results.confusion(NAME),
    results.confusion(NAME).with_suffix(".json"),
    results.worst_errors(NAME),
    results.errors(NAME),
    results.PLOTS / "tables" / NAME / "<table>.csv",
)
OF_MODEL = (
    *(results.model(NAME, SEED).with_suffix(suffix) for suffix in MODEL_FILES),
    results.evaluation(NAME, SEED),
    CHECKPOINTS / NAME / f"{SEED}.npz",
)
BEFORE_SEEDS = (  # where results were before there was train.seeds
    *(results.model(NAME, SEED).parent.with_suffix(suffix) for suffix in MODEL_FILES),
    results.PLOTS / "predictions" / f"{NAME}.json",
    CHECKPOINTS / f"{NAME}.npz",
)


@dataclass(frozen=True, order=True)
class Leftover:
    """A file that no stage writes any more, and the architecture or ensemble that it is of."""

    name: str
    path: Path


def find_files(params: Params) -> list[Leftover]:
    """The files in the workspace, sorted.

    A symbolic link in place of a folder is one, if the folder would be of a name that is gone. What is behind a link
    is not.
    """
    kinds = (
        (OF_REPORTED, params.reported),
        ([results.history(NAME)], params.architectures),
        ([results.ensemble(NAME)], params.ensembles),
        (OF_MODEL, params.architectures),
        (BEFORE_SEEDS, ()),
    )
    files = (
        file
        for patterns, names in kinds
        for pattern in patterns
        for file in _find(pattern.as_posix(), names, params.train.seeds)
    )
    return sorted(set(files))


def _find(pattern: str, names: Collection[str], seeds: Collection[int]) -> Iterator[Leftover]:
    """The files that a pattern matches and whose name, or whose seed, is none of these."""
    named = {name.lower() for name in names}  # where file names ignore case, cnn.json may hold the results of CNN
    expression = re.escape(pattern)
    for part, its in PARTS.items():
        expression = expression.replace(part, its)
    for path in Path().glob(re.sub(r"<\w+>", "*", pattern)):
        match = re.fullmatch(expression, path.as_posix(), re.ASCII)
        if not match or (path.is_dir() and not path.is_symlink()):
            continue
        name, seed = match["name"], match.groupdict().get("seed")
        gone = name.lower() not in named
        if not gone and (seed is None or int(seed) in seeds):
            continue
        links = [folder for folder in path.parents if folder.is_symlink()]
        if not links or (gone and [link.name for link in links] == [name]):
            yield Leftover(name, *links or [path])


def find_entries(params: Params) -> list[str]:
    """The stages in dvc.lock, in its order; none if it is not as DVC writes it."""
    models = [f"{name}-{seed}" for name in params.architectures for seed in params.train.seeds]
    named = {
        "train": models,
        "evaluate": models,
        "report": params.architectures,
        "ensemble": params.ensembles,
    }
    parts = (stage.partition("@") for stage in _entries())
    return [f"{stage}@{item}" for stage, at, item in parts if at and stage in named and item not in named[stage]]


def _entries() -> dict[str, str]:
    parts = split(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else None
    return parts[1] if parts else {}
