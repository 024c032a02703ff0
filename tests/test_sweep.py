"""`make sweep`: nothing is lost when it is interrupted or killed, and `dvc repro` trains the winner."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable

import pandas as pd
import pytest
from optuna.trial import TrialState
from rich.progress import Progress

from stages.common.files import write_text
from stages.support.errors import PipelineError
from stages.support.params import load_params
from stages.support.workers import End, EpochOfSeed
from stages.support.yaml import parse_yaml, read_yaml
from tools.sweep import __main__ as sweep
from tools.sweep.report import block_text
from tools.sweep.search import Search
from tools.sweep.training import Training

from .conftest import Project
from .faults import wait_until
from .forked import started
from .test_space import SIMPLE, SPACE, read

SAVE = "        checkpoint.save(model, history)\n"
NOTE_AND_WAIT = """\
        import time
        with open("saves", "a") as saves:
            saves.write(f"{number + 1}\\n")
        while not Path("GO").exists():
            time.sleep(0.05)
"""


SWEEP = ("python", "-m", "tools.sweep", "space.yaml")
LINE = (*SWEEP, "--trials", "4", "--finalists", "1", "--seeds", "10", "11", "--jobs", "2")


def saves(project: Project) -> list[str]:
    """The epochs that were trained, of each training."""
    return [path.read_text() for path in project.path.glob("sweeps/found/trainings/*/saves")]


def stop(project: Project, epochs: str, number: int) -> str:
    """Searches until two trainings have had these epochs, and sends a signal; returns what was printed."""
    with started(project, *LINE) as sweep:
        wait_until(lambda: sweep.has_ended() or saves(project) == [epochs, epochs])
        assert not sweep.has_ended()
        another = project.run(*SWEEP, check=False).stderr
        assert another == "error: sweeps/found: another sweep runs in this folder; wait for its end\n"
        os.kill(sweep.process.pid, number)
        return sweep.wait()[1]


def test_a_search_goes_on_and_its_winner_is_what_dvc_repro_trains(project: Project) -> None:
    (project.path / "space.yaml").write_text(SPACE.replace("[3, 20]", "[20, 3]"))  # the first, 20, is too large
    module = project.path / "stages/models/training.py"
    wait = NOTE_AND_WAIT.replace("GO", str(project.path / "go"))
    module.write_text(module.read_text().replace(SAVE, SAVE + wait))
    folder = project.path / "sweeps/found"
    assert stop(project, "1\n", signal.SIGINT) == "interrupted; rerun to continue\n"
    assert stop(project, "1\n2\n", signal.SIGKILL) == ""

    (project.path / "go").touch()
    params = project.params.read_text()
    done = project.run(*LINE, "--write")
    trials = pd.read_csv(folder / "trials.csv", index_col="number")
    assert list(trials.index) == [0, 1, 2, 3]
    failed = trials[trials.state == "FAIL"]
    assert all("Keras says" in mistake for mistake in failed.user_attrs_mistake)
    assert 0 in failed.index
    assert saves(project) == ["1\n2\n"] * (4 - len(failed) + 1), "trials and a finalist's second seed, each epoch once"
    assert list(failed.index) == list(trials[trials["params_layers[0].choice[1][0].Conv2D.kernel_size"] == 20].index)
    assert "architectures.found" in done.stdout

    block = (folder / "found.yaml").read_text()
    readme = (folder / "README.md").read_text()
    assert block in readme
    assert all(path.name in readme for path in folder.glob("*.png"))
    assert {path.stem for path in folder.glob("*.png")} >= {"optimization_history", "intermediate_values"}
    assert project.params.read_text().replace(block, "").split() == params.split()
    assert load_params(project.params).architectures["found"].fit.validation_split == 0.2

    project.edit(lambda content: content["train"].update(seeds=[10, 11]))
    project.repro("train@found")
    models = [path.read_bytes() for path in folder.glob("trainings/*/models/*.keras")]
    assert all((project.path / f"data/models/found/{seed}.keras").read_bytes() in models for seed in (10, 11))

    again = project.run(*LINE, "--write", check=False)
    assert again.stderr.startswith("error: params.yaml: architectures.found is there already")


class Trainer:
    """Trains nothing: after each epoch, the n-th training has an accuracy that `accuracy` returns."""

    def __init__(self, accuracy: Callable[[int], float], error: str = "") -> None:
        self.accuracy, self.error = accuracy, error
        self.trained: list[tuple[int, dict]] = []

    def __call__(self, trainings: Iterable[Training], end_epoch: EpochOfSeed, end: End) -> None:
        for training in trainings:
            content = parse_yaml(training.params.encode(), "")
            value = self.accuracy(len(self.trained))
            self.trained.append((training.seed, content["architectures"][training.name]))
            assert content["train"]["seeds"] == [training.seed]
            if any(end_epoch(training, epoch, {"val_accuracy": value}) for epoch in (1, 2, 3)):
                continue
            if not self.error:
                rows = f"train,accuracy,1\nvalidation,accuracy,1\nvalidation,accuracy,{value}\nvalidation,loss,2\n"
                write_text(training.folder / f"models/{training.seed}.csv", f"split,metric,value\n{rows}")
            end(training, PipelineError(self.error) if self.error else None)


def search(project: Project, monkeypatch: pytest.MonkeyPatch, train: Trainer, text: str = SIMPLE) -> Search:
    monkeypatch.chdir(project.path)
    folder = project.path / "sweeps/found"
    folder.mkdir(parents=True, exist_ok=True)
    return Search(read(text, project.path), read_yaml(project.params), folder, train, Progress(disable=True))


def test_a_trial_that_is_worse_than_most_is_ended_early(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.1, *(0.90, 0.99)]
    sweep = search(project, monkeypatch, Trainer(accuracies.__getitem__))
    sweep.run(10)
    states = [trial.state for trial in sweep.study.trials]
    assert states == [TrialState.COMPLETE] * 9 + [TrialState.PRUNED]
    assert list(sweep.study.trials[9].intermediate_values) == [1]
    finalists, blocks = sweep.finalists(2, [10, 11])
    assert list(blocks) == [8, 7], "the best that were not ended"
    assert list(finalists.index) == [7, 8], "by their means"
    assert finalists.loc[7].tolist() == [pytest.approx(0.98, rel=1e-12), 0.97, 0.99]
    assert finalists.loc[8].tolist() == [pytest.approx(0.94, rel=1e-12), 0.98, 0.90]


ODD = """\
found:
  layers:
    - Flatten
    - Dense: {units: classes, activation: softmax, activity_regularizer: {choice: [null, L2]}}
  compile: {optimizer: {SGD: {learning_rate: {choice: [1e-5, 0.1]}, momentum: 1e-5}}}
  fit:
    epochs: 3
    batch_size: {choice: [2, 100000000000000000000]}
    validation_split: 0.2
    class_weight: {choice: [{8: 1.5}, {0: 1.25, 9: {range: [1, 2]}}, null]}
"""


def test_finalists_are_what_was_searched(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Trainer(lambda number: number / 100)
    search(project, monkeypatch, train, ODD).run(40)
    searched = [block for _, block in train.trained]
    assert len(searched) == len({repr(block) for block in searched}) < 40, "what is the same is trained once"
    assert {8: 1.5} in [block["fit"]["class_weight"] for block in searched]
    assert any(type(block["fit"]["batch_size"]) is int and block["fit"]["batch_size"] > 2**64 for block in searched)
    train.trained.clear()
    _, blocks = search(project, monkeypatch, train, ODD).finalists(40, [11, 10])
    assert all(block in searched for block in blocks.values())
    assert len(blocks) == len({repr(block) for block in blocks.values()}) == len(searched)
    assert all(parse_yaml(block_text("found", block).encode(), "") == {"found": block} for block in blocks.values())
    assert train.trained == [(11, block) for block in blocks.values()], "those with seed 10 are there"


@pytest.mark.parametrize(
    ("kernels", "jobs", "count"), [("portable", [], 5), ("native", [], 1), ("native", ["--jobs", "2"], 2)]
)
def test_the_best_finalist_wins_and_is_written_only_if_asked(project, monkeypatch, kernels, jobs, count: int) -> None:
    (project.path / "space.yaml").write_text(SIMPLE)
    project.edit(lambda params: params["train"].update(seeds=[10, 11], kernels=kernels))
    trainer, counts = Trainer([0.9, 0.95, 0.8, 0.99].__getitem__), []  # trials 0 and 1, then of 1 and 0 with seed 11
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sweep, "here", lambda count, _: counts.append(count) or trainer)
    monkeypatch.setattr(sweep, "trainings_at_once", lambda _: 5)
    statuses = iter([3, 0, 0])  # of what prepares the data
    monkeypatch.setattr(sweep.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], next(statuses)))
    monkeypatch.setattr("sys.argv", ["", "space.yaml"])
    with pytest.raises(SystemExit, match="3"):
        sweep.main()
    before = project.params.read_text()
    for option in [], ["--write"]:
        assert project.params.read_text() == before
        monkeypatch.setattr("sys.argv", ["", "space.yaml", "--trials", "2", "--finalists", "2", *jobs, *option])
        sweep.main()
    with pytest.raises(SystemExit, match="found is there already"):  # before it prepares or trains
        sweep.main()
    assert (counts, len(trainer.trained)) == ([count, count], 4)
    winner = block_text("found", trainer.trained[0][1])
    assert (project.path / "sweeps/found/found.yaml").read_text() == winner
    assert "94.50%" in (project.path / "sweeps/found/README.md").read_text(), "the winner's mean"
    assert project.params.read_text().replace(f"\n{winner}", "") == before != project.params.read_text()


def test_a_search_without_a_result_is_one_line_and_another_space_starts_anew(project: Project, monkeypatch) -> None:
    failing = Trainer(lambda _: 0.5, "params.yaml: architectures.found: expected a finite loss, found nan")
    with pytest.raises(PipelineError, match=r"none of 3 trials could be trained; the last: params.yaml: .* found nan"):
        search(project, monkeypatch, failing).run(3)
    with pytest.raises(PipelineError, match="none of 5 trials"):
        search(project, monkeypatch, failing).run(5)
    trials = search(project, monkeypatch, failing).study.trials
    assert len(trials) == len({str(trial.params) for trial in trials}) == 5, "none is proposed again"
    assert not search(project, monkeypatch, failing, SIMPLE.replace("0.1", "0.2")).study.trials
    project.edit(lambda params: params["train"].update(seeds=[7]))
    assert not search(project, monkeypatch, failing).study.trials
    project.edit(lambda params: params["train"].update(seeds=[10]))
    monkeypatch.setattr("tools.sweep.search.shared_identity", lambda *_: "other code or data")
    assert not search(project, monkeypatch, failing).study.trials
