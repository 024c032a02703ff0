"""Trains by the pipeline's own code, on this machine or on a Ray cluster."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.common.kernels import Kernels
from stages.common.prepared import Dataset
from stages.models.models import import_keras
from stages.models.training import Recipe
from stages.support.params import PARAMS_PATH, parse_params
from stages.support.workers import FORK, End, EndEpoch, EpochOfSeed, train_side_by_side
from stages.train import check_fit
from tools.common.results import TRAINING_DATA

OUTPUT = Path("models")  # of a training, in its folder


@dataclass(frozen=True, eq=False)
class Training:
    """A training of one architecture with one seed.

    Args:
        folder: of its own, for model, history and checkpoint.
        name: of the architecture.
        seed: as in params.yaml.
        epochs: at most.
        params: the text of a params.yaml with this architecture and seed alone.
    """

    folder: Path
    name: str
    seed: int
    epochs: int
    params: str

    def __str__(self) -> str:
        return f"{self.seed} in {self.folder}"

    def accuracy(self) -> float | None:
        """Returns the accuracy on the held-out images after the last epoch; `None` if it is not trained yet."""
        history = self.folder / OUTPUT / f"{self.seed}.csv"
        if not history.exists():
            return None
        table = pd.read_csv(history)
        return float(table[(table.split == "validation") & (table.metric == "accuracy")].value.iloc[-1])

    def train(self, end_epoch: EndEpoch) -> None:
        """Trains or resumes in this process, as stages/train.py does."""
        params = parse_params(self.params.encode(), str(PARAMS_PATH))
        architecture = params.architecture(self.name)
        check_fit(self.name, architecture, Dataset.read(TRAINING_DATA))
        recipe = Recipe(self.name, architecture, params.train.kernels, TRAINING_DATA.absolute(), OUTPUT)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chdir(self.folder)  # which gets the checkpoint
        recipe.train(self.seed, self.folder.name, end_epoch)


Train = Callable[[Iterable[Training], EpochOfSeed, End], None]  # trains side by side, as `train_side_by_side` does


def here(count: int, kernels: Kernels) -> Train:
    """Returns what trains on this machine, `count` at once."""

    def train(trainings: Iterable[Training], end_epoch: EpochOfSeed, end: End) -> None:
        method = "spawn" if kernels == "native" else FORK
        if method == "fork":
            import_keras()
        train_side_by_side(trainings, Training.train, end_epoch, count, method, end)

    return train


def on_cluster(address: str) -> Train:
    """Returns what trains on a Ray cluster."""
    from stages.support.cluster import Cluster, Job

    cluster = Cluster(address)

    def train(trainings: Iterable[Training], end_epoch: EpochOfSeed, end: End) -> None:
        jobs = (Job(training, training.name, training.params, training.folder / OUTPUT) for training in trainings)
        cluster.train_side_by_side(jobs, TRAINING_DATA, cluster.cpus(), end_epoch, end)

    return train
