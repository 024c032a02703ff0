"""Searches a space with Optuna: proposes trials, trains them, and ends those that are worse than most at an epoch."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.progress import Progress

from stages.models.identity import shared_identity
from stages.support.errors import PipelineError
from tools.sweep.space import Choice, Range, Space
from tools.sweep.training import DATA, Place, Training, TrainingError, side_by_side

MISTAKE, SPACE = "mistake", "space"  # what is kept with trials and with the study
STARTUP = 10  # trials drawn at random, before Optuna learns from those that are there
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass
class Finalist:
    """A trial that is trained with several seeds.

    Args:
        trial: its number.
        block: the architecture.
        accuracies: on the held-out images, of each seed.
    """

    trial: int
    block: dict[str, Any]
    accuracies: list[float]

    @property
    def mean(self) -> float:
        return mean(self.accuracies)


@dataclass
class Search:
    """A search, which goes on where an earlier one with the same folder ended.

    Args:
        space: what is searched.
        content: of params.yaml.
        folder: for Optuna's study, an SQLite file, and the trainings.
        place: where trainings run.
        progress: shows what runs.
    """

    space: Space
    content: dict[str, Any]
    folder: Path
    place: Place
    progress: Progress
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.identity = shared_identity(self.content["train"]["kernels"], DATA)
        self.study = optuna.create_study(
            study_name=self.space.name,
            storage=f"sqlite:///{self.folder / 'study.db'}",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP // 2, n_warmup_steps=1),
        )
        train = self.content["train"]
        searched = [repr(self.space.block), train["kernels"], train["seeds"][0], self.identity]
        if self.study.user_attrs.setdefault(SPACE, searched) != searched:
            raise PipelineError(
                f"{self.folder}: expected trials of the same space, seed, kernels, code and data, found others; "
                "delete the folder, or give the architecture another name"
            )
        self.study.set_user_attr(SPACE, searched)
        self._take_up()
        # Another seed after each start: the same would propose once more what is there
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=len(self.study.trials))

    def _take_up(self) -> None:
        """Has trials that an earlier search left running run again; their trainings resume after their last epoch."""
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that have a result, or were found to be mistakes."""
        ended = self.study.get_trials(deepcopy=False, states=FINISHED)
        return [trial for trial in ended if trial.state != TrialState.FAIL or MISTAKE in trial.user_attrs]

    def run(self, trials: int) -> None:
        """Searches until this many trials have ended. Raises `PipelineError` if none of them could be trained."""
        left = trials - len(self.finished)
        bar = self.progress.add_task("trials", total=trials, completed=trials - max(left, 0))

        def run(_: int) -> None:
            self._run_trial()
            complete = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
            best = f", best {max(trial.value for trial in complete):.2%}" if complete else ""
            self.progress.update(bar, advance=1, description=f"trials{best}")

        side_by_side(run, range(left), self.place)
        if not self.study.get_trials(states=[TrialState.COMPLETE]):
            why = [trial.user_attrs[MISTAKE] for trial in self.finished if MISTAKE in trial.user_attrs]
            raise PipelineError(f"{self.space.path}: none of {trials} trials could be trained; the last: {why[-1]}")

    def _run_trial(self) -> None:
        with self.lock:
            trial = self.study.ask()
            block = self.space.filled(lambda path, options: suggest(trial, path, options))
        training = self._training(block, self.content["train"]["seeds"][0])

        def end_epoch(epoch: int, epochs: int, accuracy: float) -> None:
            trial.report(accuracy, epoch)
            if epoch < epochs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            accuracy = self._train(training, f"trial {trial.number}", end_epoch)
        except optuna.TrialPruned:
            training.discard()
            self.study.tell(trial, state=TrialState.PRUNED)
        except TrainingError as mistake:
            trial.set_user_attr(MISTAKE, str(mistake))
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, accuracy)

    def finalists(self, count: int, seeds: list[int]) -> list[Finalist]:
        """Trains the best trials with several seeds; of several trials that are the same training, one.

        Returns:
            The finalists, best first, without those that could not be trained with one of the seeds.
        """
        best: dict[Path, tuple[int, dict[str, Any]]] = {}
        for trial in sorted(self.study.get_trials(states=[TrialState.COMPLETE]), key=lambda trial: -trial.value):
            block = self._block(trial)
            best.setdefault(self._training(block, seeds[0]).folder, (trial.number, block))
        ranked = list(best.values())[:count]
        bar = self.progress.add_task("trainings of finalists", total=len(ranked) * len(seeds))

        def train(item: tuple[int, dict[str, Any], int]) -> float | None:
            number, block, seed = item
            try:
                return self._train(self._training(block, seed), f"trial {number}, seed {seed}", lambda *_: None)
            except TrainingError:
                return None
            finally:
                self.progress.advance(bar)

        found = side_by_side(train, [(*trial, seed) for trial in ranked for seed in seeds], self.place)
        rows = [found[start : start + len(seeds)] for start in range(0, len(found), len(seeds))]
        finalists = [Finalist(*trial, row) for trial, row in zip(ranked, rows, strict=True) if None not in row]
        return sorted(finalists, key=lambda finalist: -finalist.mean)

    def _block(self, trial: FrozenTrial) -> dict[str, Any]:
        """The architecture of a trial, from the values that Optuna keeps; a copy in its JSON would change some."""

        def picked(path: str, options: Choice | Range) -> Any:
            value = trial.params[path]
            return options.labels.index(value) if isinstance(options, Choice) else value

        return self.space.filled(picked)

    def _training(self, block: dict[str, Any], seed: int) -> Training:
        params = self.space.alone(self.content, block, [seed])
        return Training.of(params, self.identity, self.folder / "trainings")

    def _train(self, training: Training, name: str, end_epoch: Callable[[int, int, float], None]) -> float:
        """Trains, with a bar."""
        bar = self.progress.add_task(f"  {name}", total=None)

        def show(epoch: int, epochs: int, accuracy: float) -> None:
            self.progress.update(bar, completed=epoch, total=epochs)
            end_epoch(epoch, epochs, accuracy)

        try:
            return training.run(self.place, show)
        finally:
            self.progress.remove_task(bar)


def suggest(trial: Trial, path: str, options: Choice | Range) -> Any:
    """What Optuna proposes for a choice, as the option's number, or for a range."""
    if isinstance(options, Choice):
        return options.labels.index(trial.suggest_categorical(path, options.labels))
    propose = trial.suggest_int if options.is_whole else trial.suggest_float
    return propose(path, options.low, options.high, log=options.log)
