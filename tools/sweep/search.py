"""Searches a space with Optuna: proposes trials, trains them, and ends those that are worse than most at an epoch."""

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.progress import Progress

from stages.models.identity import custom_identity, shared_identity
from stages.support.errors import PipelineError
from stages.support.yaml import to_yaml
from tools.common.results import TRAINING_DATA
from tools.sweep.space import Options, Space
from tools.sweep.training import Train, Training

MISTAKE = "mistake"  # what Optuna keeps with a trial that could not be trained


class Search:
    """A search. Continues an earlier one of the same space, seed, code and data.

    Args:
        space: what is searched.
        content: of params.yaml.
        folder: for Optuna's studies, an SQLite file, and the trainings.
        train: trains side by side.
        progress: shows what has run.
    """

    def __init__(self, space: Space, content: dict[str, Any], folder: Path, train: Train, progress: Progress) -> None:
        self.space, self.content, self.folder, self.train, self.progress = space, content, folder, train, progress
        self.seed, kernels = content["train"]["seeds"][0], content["train"]["kernels"]
        self.identity = shared_identity(kernels, TRAINING_DATA) + custom_identity(repr(space.block))
        self.trials: dict[Training, Trial] = {}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            study_name=digest(space.name, repr(space.block), self.seed, kernels, self.identity),
            storage=f"sqlite:///{folder / 'study.db'}",
            direction="maximize",
            load_if_exists=True,
        )
        # Another seed after each start: the same would propose once more what is there
        self.study.sampler = optuna.samplers.TPESampler(seed=len(self.study.trials))

    @property
    def complete(self) -> list[FrozenTrial]:
        """The trials that were trained to the end, best first."""
        trials = self.study.get_trials(states=[TrialState.COMPLETE])
        return sorted(trials, key=lambda trial: -(trial.value or 0))

    def run(self, count: int) -> None:
        """Searches until there are this many trials. Raises `PipelineError` if none of them could be trained."""
        ended = sum(trial.state.is_finished() for trial in self.study.trials)
        self.bar = self.progress.add_task("trials", total=max(count, ended), completed=ended)
        self.train(self._proposed(count), self._end_epoch, self._end)
        if not self.complete:
            *_, last = [trial.user_attrs[MISTAKE] for trial in self.study.trials if MISTAKE in trial.user_attrs]
            raise PipelineError(f"{self.space.path}: none of {count} trials could be trained; the last: {last}")

    def _proposed(self, count: int) -> Iterator[Training]:
        """Yields the trainings of trials: those that a killed search has left, then new ones."""
        left = self.study.get_trials(states=[TrialState.RUNNING])
        while left or len(self.study.trials) < count:
            trial = Trial(self.study, left.pop(0)._trial_id) if left else self.study.ask()
            training = self._training(self.space.filled(functools.partial(suggest, trial)), self.seed)
            self.trials[training] = trial
            if training.accuracy() is None:
                yield training
            else:  # the same as of an earlier trial
                self._end(training, None)

    def _end_epoch(self, training: Training, epoch: int, logs: dict[str, float]) -> bool:
        """Reports an epoch to Optuna. Returns whether to end the training."""
        trial = self.trials[training]
        if "val_accuracy" in logs:  # not of epochs trained earlier, of a training that is resumed
            trial.report(logs["val_accuracy"], epoch)
        if epoch == training.epochs or not trial.should_prune():
            return False
        self._tell(trial, None, TrialState.PRUNED)
        return True

    def _end(self, training: Training, error: PipelineError | None) -> None:
        trial = self.trials[training]
        if error:
            trial.set_user_attr(MISTAKE, str(error))
        self._tell(trial, training.accuracy(), TrialState.FAIL if error else TrialState.COMPLETE)

    def _tell(self, trial: Trial, accuracy: float | None, state: TrialState) -> None:
        self.study.tell(trial, accuracy, state)
        best = f", best {self.complete[0].value:.2%}" if self.complete else ""
        self.progress.update(self.bar, advance=1, description=f"trials{best}", refresh=True)

    def finalists(self, count: int, seeds: list[int]) -> tuple[pd.DataFrame, dict[int, dict[str, Any]]]:
        """Trains the best trials with several seeds; of several trials that are the same training, one.

        Returns:
            A row for each trial that could be trained with all seeds, best first: the accuracy on the held-out images,
            the mean and each seed's. And the architectures, by the numbers of their trials.
        """
        blocks: dict[int, dict[str, Any]] = {}
        for trial in self.complete:
            block = self._block(trial)
            if len(blocks) < count and repr(block) not in map(repr, blocks.values()):
                blocks[trial.number] = block
        trainings = {number: [self._training(block, seed) for seed in seeds] for number, block in blocks.items()}
        missing = [training for row in trainings.values() for training in row if training.accuracy() is None]
        bar = self.progress.add_task("trainings of finalists", total=len(missing))
        self.train(missing, lambda *_: None, lambda *_: self.progress.update(bar, advance=1, refresh=True))
        rows = {number: [training.accuracy() for training in row] for number, row in trainings.items()}
        columns = [f"seed {seed}" for seed in seeds]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float).dropna()
        table.insert(0, "mean", table.mean(axis=1))
        return table.rename_axis("trial").sort_values("mean", ascending=False, kind="stable"), blocks

    def _block(self, trial: FrozenTrial) -> dict[str, Any]:
        return self.space.filled(lambda path, _: trial.params[path])

    def _training(self, block: dict[str, Any], seed: int) -> Training:
        """Returns a training. The same has the same folder."""
        params = self.space.alone(self.content, block, seed)
        name = digest(params["architectures"], params["train"], self.identity)
        return Training(
            self.folder / "trainings" / name[:16], self.space.name, seed, block["fit"]["epochs"], to_yaml(params)
        )


def digest(*values: object) -> str:
    """Returns a name for these JSON values: their SHA-256."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def suggest(trial: Trial, path: str, options: Options) -> Any:
    """Returns what Optuna proposes."""
    match options:
        case CategoricalDistribution():
            return trial.suggest_categorical(path, options.choices)
        case IntDistribution():
            return trial.suggest_int(path, options.low, options.high, step=options.step, log=options.log)
    return trial.suggest_float(path, options.low, options.high, step=options.step, log=options.log)
