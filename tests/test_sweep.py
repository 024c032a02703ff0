"""`make sweep`: the space is checked first, nothing is lost when it is killed, and `dvc repro` trains the winner."""

import itertools
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.trial import TrialState
from rich.progress import Progress

from stages.support.errors import PipelineError
from stages.support.params import load_params
from stages.support.yaml import parse_yaml, read_yaml
from tools.sweep.report import block_text
from tools.sweep.search import Search
from tools.sweep.training import Place, ReportAccuracy, Training, TrainingError, here

from .conftest import ROOT, Project
from .test_ending import wait_until
from .test_space import SIMPLE, SPACE, first, read

SWEEP = ("python", "-m", "tools.sweep", "space.yaml")


def test_a_killed_search_goes_on_and_its_winner_is_what_dvc_repro_trains(project: Project) -> None:
    (project.path / "space.yaml").write_text(SPACE)
    folder = project.path / "sweeps/found"
    line = [*SWEEP, "--trials", "3", "--finalists", "1", "--seeds", "10", "11", "--jobs", "2"]
    with subprocess.Popen(line, cwd=project.path, env=project.environment) as process:
        wait_until(lambda: process.poll() is not None or list(folder.glob("trainings/*/models/*.csv")))
        assert process.poll() is None
        process.kill()
    before = {path: path.read_bytes() for path in folder.glob("trainings/*/models/*.keras")}

    params = project.params.read_text()
    done = project.run(*line, "--write")
    assert all(path.read_bytes() == model for path, model in before.items())
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 3
    failed = trials[trials.state == "fail"]
    assert all("Keras says" in mistake for mistake in failed.mistake)
    assert set(failed.index) == set(trials[trials["layers[0].choice[1][0].Conv2D.kernel_size"] == 20].index)
    assert "architectures.found" in done.stdout

    block = (folder / "found.yaml").read_text()
    assert block in (folder / "README.md").read_text()
    assert all((folder / name).exists() for name in ("history.png", "curves.png"))
    assert project.params.read_text().replace(block, "").split() == params.split()
    assert load_params(project.params).architectures["found"].fit.validation_split == 0.2

    project.edit(lambda content: content["train"].update(seeds=[10, 11]))
    project.repro("train@found")
    models = [path.read_bytes() for path in folder.glob("trainings/*/models/*.keras")]
    assert all((project.path / f"data/models/found/{seed}.keras").read_bytes() in models for seed in (10, 11))

    again = project.run(*line, "--write", check=False)
    assert again.stderr.startswith("error: params.yaml: architectures.found is there already")


def test_a_training_that_is_ended_resumes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    module = project.path / "stages/models/training.py"
    reports = "        end_epoch(number + 1, logs)\n"
    waits = "        while not number and not Path('go').exists():\n            __import__('time').sleep(0.05)\n"
    module.write_text(module.read_text().replace(reports, reports + waits))
    space = read(SIMPLE, project.path)
    params = space.alone(read_yaml(project.params), space.filled(first), [10])
    training = Training.of(params, "", project.path / "ended")

    def end(epoch: int, epochs: int, accuracy: float) -> None:
        assert (epoch, epochs) == (1, 3)
        assert 0 < accuracy <= 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(here(1), end)
    (training.folder / "go").touch()
    reported: list[int] = []
    assert 0 < training.run(here(1), lambda epoch, *_: reported.append(epoch)) <= 1
    assert reported == [2, 3]
    assert training.run(here(1), end) > 0  # trains no more


@pytest.mark.parametrize(
    ("status", "stderr", "jobs", "message"),
    [
        (-signal.SIGKILL, "", 2, r"ended by SIGKILL; memory was probably short; rerun with JOBS=1"),
        (-signal.SIGKILL, "", 1, r"ended by SIGKILL; memory was probably short; close other programs, or make batches"),
        (-signal.SIGSEGV, "", 1, r"ended by SIGSEGV; rerun to continue"),
        (-signal.SIGTERM, "", 1, r"^stopped; rerun to continue"),
        (1, "a warning\nerror: found nan\n", 1, r"^found nan$"),
    ],
)
def test_a_training_that_fails_is_one_line(status: int, stderr: str, jobs: int, message: str, tmp_path: Path) -> None:
    failing = Place(jobs, lambda *_: (status, stderr), lambda: None)
    with pytest.raises(PipelineError, match=message) as error:
        Training(tmp_path, "found", 10, "").run(failing, lambda *_: None)
    assert isinstance(error.value, TrainingError) == (status == 1)


def test_make_passes_the_remedy_on() -> None:
    command = ["make", "--dry-run", "sweep", "SPACE=space.yaml", "JOBS=1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "tools.sweep space.yaml --jobs=1" in " ".join(printed.split())


@pytest.mark.parametrize("dataset", ["2020-01-01", "1e-5", "017", "null", "0o7", "🙂 \n\x85"])
def test_a_training_gets_params_as_they_were(dataset: str, project: Project) -> None:
    content = read_yaml(project.params)
    content["data"]["sources"] = [{"dataset": dataset, "sha256": f"1e{'1' * 62}", "places": ["digits.npz"]}]
    content["train"]["seeds"] = [2**32 - 1]
    del content["architectures"]["mlp_256"]
    content["architectures"]["cnn"]["fit"]["class_weight"] = {8: 1e-5}
    path = project.path / "params.yaml"
    path.write_text(Training.of(content, "", project.path).params)
    assert read_yaml(path) == content
    assert load_params(path).data.sources[0].dataset == dataset


def search_without_training(project: Project, monkeypatch: pytest.MonkeyPatch, run: Any, text: str = SIMPLE) -> Search:
    """A search whose trainings take no time."""
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(Training, "run", run)
    folder = project.path / "sweeps/found"
    folder.mkdir(parents=True, exist_ok=True)
    return Search(read(text, project.path), read_yaml(project.params), folder, here(1), Progress(disable=True))


def test_a_trial_that_is_worse_than_most_is_ended_early(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()

    def run(_: Training, __: Place, report: ReportAccuracy) -> float:
        number = next(numbers)
        accuracy = 0.1 if number == 9 else 0.9 + number / 1000
        for epoch in (1, 2, 3):
            report(epoch, 3, accuracy)
        return accuracy

    search = search_without_training(project, monkeypatch, run)
    search.run(10)
    assert [trial.state for trial in search.finished] == [TrialState.COMPLETE] * 9 + [TrialState.PRUNED]
    finalists = search.finalists(2, [10, 11])
    assert [finalist.trial for finalist in finalists] == [7, 8], "the best that were not ended, by their means"
    assert [finalist.mean for finalist in finalists] == pytest.approx([0.9125, 0.9105], rel=1e-12)


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
    trained: list[tuple[int, dict]] = []

    def run(training: Training, _: Place, __: ReportAccuracy) -> float:
        content = parse_yaml(training.params.encode(), "")
        trained.append((content["train"]["seeds"][0], content["architectures"]["found"]))
        return len(trained) / 100

    search_without_training(project, monkeypatch, run, ODD).run(20)
    searched = [block for _, block in trained]
    assert {8: 1.5} in [block["fit"]["class_weight"] for block in searched]
    assert any(type(block["fit"]["batch_size"]) is int and block["fit"]["batch_size"] > 2**64 for block in searched)
    blocks = [f.block for f in search_without_training(project, monkeypatch, run, ODD).finalists(20, [10, 11])]
    assert all(block in searched for block in blocks)
    assert len(blocks) == len({repr(block) for block in searched})
    assert all(parse_yaml(block_text("found", block).encode(), "") == {"found": block} for block in blocks)
    assert [seed for seed, _ in trained[20:]] == [10, 11] * len(blocks)
    assert all(block in blocks for _, block in trained)


def test_a_search_without_a_result_or_of_another_space_is_one_line(project: Project, monkeypatch) -> None:
    def run(*_: object) -> float:
        raise TrainingError("params.yaml: architectures.found: expected a finite loss, found nan")

    with pytest.raises(PipelineError, match=r"none of 3 trials could be trained; the last: params.yaml: .* found nan"):
        search_without_training(project, monkeypatch, run).run(3)
    with pytest.raises(PipelineError, match="found others; delete the folder, or give the architecture another name"):
        search_without_training(project, monkeypatch, run, SIMPLE.replace("0.1", "0.2"))


def test_ctrl_c_ends_the_trainings(project: Project) -> None:
    (project.path / "space.yaml").write_text(SIMPLE.replace("epochs: 3", "epochs: 100000"))
    streams = {"stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(SWEEP, cwd=project.path, env=project.environment, **streams) as process:
        checkpoints = project.path / "sweeps/found/trainings"
        wait_until(lambda: process.poll() is not None or list(checkpoints.glob("*/.checkpoints/*/*.npz")))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "interrupted; rerun to continue\n"
    assert process.returncode == 130
