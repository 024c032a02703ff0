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

from stages.models.identity import custom_identity, shared_identity
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
        progress: shows what has run.

    Raises `PipelineError` if the trials in the folder are of another space, seed, code or data.
    """

    space: Space
    content: dict[str, Any]
    folder: Path
    place: Place
    progress: Progress
    lock: threading.Lock = field(default_factory=threading.Lock)  # two threads would be given the same waiting trial

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        train = self.content["train"]
        self.identity = shared_identity(train["kernels"], DATA) + custom_identity(repr(self.space.block))
        self.study = optuna.create_study(
            study_name=self.space.name,
            storage=f"sqlite:///{self.folder / 'study.db'}",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP // 2, n_warmup_steps=1),
        )
        searched = [repr(self.space.block), train["kernels"], train["seeds"][0], self.identity]
        if self.study.user_attrs.setdefault(SPACE, searched) != searched:
            raise PipelineError(
                f"{self.folder}: expected trials of the same space, seed, kernels, code and data, found others; "
                "delete the folder, or give the architecture another name"
            )
        self.study.set_user_attr(SPACE, searched)
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):  # an earlier search was killed: run it again
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params)
        # Another seed after each start: the same would propose once more what is there
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=len(self.study.trials))

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that have a result, or that could not be trained."""
        ended = self.study.get_trials(deepcopy=False, states=FINISHED)
        return [trial for trial in ended if trial.state != TrialState.FAIL or MISTAKE in trial.user_attrs]

    @property
    def complete(self) -> list[FrozenTrial]:
        """The trials that were trained to the end, best first."""
        trials = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return sorted(trials, key=lambda trial: -(trial.value or 0))

    def run(self, trials: int) -> None:
        """Searches until this many trials have ended. Raises `PipelineError` if none of them could be trained."""
        left = trials - len(self.finished)
        bar = self.progress.add_task("trials", total=trials, completed=trials - max(left, 0))

        def run(_: int) -> None:
            self._run_trial()
            complete = self.complete
            best = f", best {complete[0].value:.2%}" if complete else ""
            self.progress.update(bar, advance=1, description=f"trials{best}")

        side_by_side(run, range(left), self.place)
        if not self.complete:
            *_, last = [trial.user_attrs[MISTAKE] for trial in self.finished if MISTAKE in trial.user_attrs]
            raise PipelineError(f"{self.space.path}: none of {trials} trials could be trained; the last: {last}")

    def _run_trial(self) -> None:
        with self.lock:
            trial = self.study.ask()
            block = self.space.filled(lambda path, options: suggest(trial, path, options))
        training = self._training(block, self.content["train"]["seeds"][0])

        def report(epoch: int, epochs: int, accuracy: float) -> None:
            trial.report(accuracy, epoch)
            if epoch < epochs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            self.study.tell(trial, training.run(self.place, report))
        except optuna.TrialPruned:
            training.discard()
            self.study.tell(trial, state=TrialState.PRUNED)
        except TrainingError as mistake:
            trial.set_user_attr(MISTAKE, str(mistake))
            self.study.tell(trial, state=TrialState.FAIL)

    def finalists(self, count: int, seeds: list[int]) -> list[Finalist]:
        """Trains the best trials with several seeds; of several trials that are the same training, one.

        Returns:
            The finalists, best first, without those that could not be trained with one of the seeds.
        """
        best: dict[Path, tuple[int, dict[str, Any]]] = {}
        for trial in self.complete:
            block = self._block(trial)
            best.setdefault(self._training(block, seeds[0]).folder, (trial.number, block))
        ranked = list(best.values())[:count]
        bar = self.progress.add_task("trainings of finalists", total=len(ranked) * len(seeds))

        def train(item: tuple[dict[str, Any], int]) -> float | None:
            try:
                return self._training(*item).run(self.place, lambda *_: None)
            except TrainingError:
                return None
            finally:
                self.progress.advance(bar)

        trained = iter(side_by_side(train, [(block, seed) for _, block in ranked for seed in seeds], self.place))
        finalists = [Finalist(*trial, [next(trained) for _ in seeds]) for trial in ranked]
        whole = [finalist for finalist in finalists if None not in finalist.accuracies]
        return sorted(whole, key=lambda finalist: -finalist.mean)

    def _block(self, trial: FrozenTrial) -> dict[str, Any]:
        """Returns a trial's architecture, from the values that Optuna keeps; a copy in its JSON would change some."""

        def picked(path: str, options: Choice | Range) -> Any:
            value = trial.params[path]
            return options.labels.index(value) if isinstance(options, Choice) else value

        return self.space.filled(picked)

    def _training(self, block: dict[str, Any], seed: int) -> Training:
        return Training.of(self.space.alone(self.content, block, [seed]), self.identity, self.folder / "trainings")


def suggest(trial: Trial, path: str, options: Choice | Range) -> Any:
    """Returns what Optuna proposes: the number of a choice's option, or a number in a range."""
    if isinstance(options, Choice):
        return options.labels.index(trial.suggest_categorical(path, options.labels))
    propose: Callable[..., float] = trial.suggest_int if options.is_whole else trial.suggest_float
    return propose(path, options.low, options.high, log=options.log)
