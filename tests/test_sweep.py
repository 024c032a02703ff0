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
from tools.sweep.space import Choice, Range, Space
from tools.sweep.training import Here, Place, ReportAccuracy, Training, TrainingError

from .conftest import ROOT, TINY_PARAMS, Project
from .test_ending import wait_until

SWEEP = ("python", "-m", "tools.sweep", "space.yaml")
SPACE = """\
found:
  layers:
    - choice:
        - []
        - - Conv2D: {filters: {range: [2, 4]}, kernel_size: {choice: [3, 20]}}
          - Activation: {activation: relu}
    - Flatten
    - Dense: {units: classes, activation: softmax}
  compile: {optimizer: {Adam: {learning_rate: {range: [1e-3, 1e-1], log: true}}}}
  fit: {epochs: 2, batch_size: 50, validation_split: 0.2, class_weight: {1: {choice: [1.0, 1.5]}, 9: 1.5}}
"""
SIMPLE = """\
found:
  layers: [Flatten, {Dense: {units: classes, activation: softmax}}]
  compile: {optimizer: {SGD: {learning_rate: {range: [0.1, 1.0]}}}}
  fit: {epochs: 3, batch_size: 50, validation_split: 0.2}
"""


def read(text: str, folder: Path) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return Space.read(path)


def first(_: str, options: Choice | Range) -> Any:
    return 0 if isinstance(options, Choice) else options.low


def last(_: str, options: Choice | Range) -> Any:
    return len(options.options) - 1 if isinstance(options, Choice) else options.high


def test_a_chosen_list_of_layers_stands_in_place_of_the_choice(tmp_path: Path) -> None:
    space = read(SPACE, tmp_path)
    assert [next(iter(layer)) if isinstance(layer, dict) else layer for layer in space.filled(last)["layers"]] == [
        "Conv2D",
        "Activation",
        "Flatten",
        "Dense",
    ]
    assert space.filled(last)["layers"][0] == {"Conv2D": {"filters": 4, "kernel_size": 20}}
    assert space.filled(first)["layers"][0] == "Flatten"


def test_a_chosen_branch_stays_a_branch(tmp_path: Path) -> None:
    branches = "[{choice: [[], [{Activation: {activation: relu}}]]}, []]"
    space = read(SIMPLE.replace("[Flatten,", f"[{{Add: {{branches: {branches}}}}}, Flatten,"), tmp_path)
    space.check(parse_yaml(TINY_PARAMS.encode(), ""))
    assert space.filled(last)["layers"][0]["Add"]["branches"] == [[{"Activation": {"activation": "relu"}}], []]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[3, 20]", "[3]", "found.layers[0].choice[1][0].Conv2D.kernel_size: expected {choice: [two or more options]}"),
        ("[3, 20]", "[3, 3]", "kernel_size.choice[1]: expected each option once, found 3 again"),
        ("[3, 20]", "[3, three]", "kernel_size: expected"),
        ("[2, 4]", "[4, 2]", "filters: expected {range: [low, high]} of numbers"),
        ("[2, 4]", "[2, 4.5]", "filters: expected"),
        ("log: true", "step: 2", "learning_rate: expected {range: [low, high]} of numbers"),
        ("1e-3", "0", "learning_rate: expected {range: [low, high]} of numbers, or {range"),
        ("1e-3", ".nan", "learning_rate: expected {range: [low, high]} of numbers"),
        ("Activation:", "Aktivation:", "unknown name 'Aktivation'; did you mean 'Activation'?"),
        (", validation_split: 0.2", "", "found.fit.validation_split: expected more than 0"),
        ("found:", "a: {}\nfound:", "expected one architecture, as in params.yaml"),
        ("found:", "7:", "space.yaml: 7: expected text, found the int 7; put it in quotes"),
    ],
)
def test_a_mistake_in_any_option_is_one_line(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in SPACE
    with pytest.raises(PipelineError) as error:
        read(SPACE.replace(before, after), tmp_path).check(parse_yaml(TINY_PARAMS.encode(), ""))
    assert str(error.value).startswith(str(tmp_path / "space.yaml"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_choices_is_one_line(project: Project) -> None:
    (project.path / "space.yaml").write_text(SIMPLE.replace("{range: [0.1, 1.0]}", "0.1"))
    done = project.run(*SWEEP, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == "error: space.yaml: found: expected {choice: […]} or {range: […]} in place of a value, found none\n"
    )
    assert not (project.path / "sweeps").exists()


def test_a_block_is_read_as_it_was_searched(tmp_path: Path) -> None:
    block = read(SPACE, tmp_path).filled(last)
    text = block_text("found", block)
    assert parse_yaml(text.encode(), "") == {"found": block}
    assert "    - Conv2D: {filters: 4, kernel_size: 20}\n" in text


def test_a_killed_search_goes_on_and_its_winner_is_what_dvc_repro_trains(project: Project) -> None:
    (project.path / "space.yaml").write_text(SPACE)
    folder = project.path / "sweeps/found"
    line = [*SWEEP, "--trials", "4", "--finalists", "2", "--seeds", "10", "11", "--jobs", "2"]
    with subprocess.Popen(line, cwd=project.path, env=project.environment) as process:
        wait_until(lambda: process.poll() is not None or list(folder.glob("trainings/*/models/*.csv")))
        assert process.poll() is None
        process.kill()
    before = {path: path.read_bytes() for path in folder.glob("trainings/*/models/*.keras")}

    params = project.params.read_text()
    done = project.run(*line, "--write")
    assert all(path.read_bytes() == model for path, model in before.items())
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 4
    failed = trials[trials.state == "fail"]
    assert all("Keras says" in mistake for mistake in failed.mistake)
    assert set(failed.index) == set(trials[trials["layers[0].choice[1][0].Conv2D.kernel_size"] == 20].index)
    assert "architectures.found" in done.stdout

    readme = (folder / "README.md").read_text()
    block = (folder / "found.yaml").read_text()
    assert block in readme
    assert all((folder / name).exists() for name in ("history.png", "curves.png"))
    assert project.params.read_text().replace(block, "").split() == params.split()
    found = load_params(project.params).architectures["found"]
    assert found.fit.validation_split == 0.2

    project.edit(lambda content: content["train"].update(seeds=[10, 11]))
    project.repro("train@found")
    for seed in (10, 11):
        model = (project.path / f"data/models/found/{seed}.keras").read_bytes()
        assert model in [path.read_bytes() for path in folder.glob("trainings/*/models/*.keras")]

    again = project.run(*line, "--write", check=False)
    assert again.stderr.startswith("error: params.yaml: architectures.found is there already")


def test_a_training_that_is_ended_resumes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    content = read_yaml(project.params)
    space = read(SIMPLE, project.path)
    params = space.alone(content, space.filled(first), [10])
    ended = Training.of(params, "", project.path / "ended")

    def end(epoch: int, epochs: int, accuracy: float) -> None:
        assert (epoch, epochs) == (1, 3)
        assert 0 < accuracy <= 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ended.run(Here(1), end)
    told: list[int] = []
    assert 0 < ended.run(Here(1), lambda epoch, *_: told.append(epoch)) <= 1
    assert told in ([2, 3], [3])  # it may have ended its second epoch before it was told to end
    assert ended.run(Here(1), end) > 0  # trains no more


@pytest.mark.parametrize(("jobs", "remedy"), [(2, "rerun with JOBS=1"), (1, "close other programs, or make batches")])
def test_a_killed_training_says_what_to_do(jobs: int, remedy: str, tmp_path: Path) -> None:
    class Killed(Here):
        def train(self, *_: object) -> tuple[int, str]:
            return -signal.SIGKILL, ""

    with pytest.raises(PipelineError, match=f"ended by SIGKILL; memory was probably short; {remedy}"):
        Training(tmp_path, "found", 10, "").run(Killed(jobs), lambda *_: None)
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
    training = Training.of(content, "", project.path)
    path = project.path / "params.yaml"
    path.write_text(training.params)
    assert read_yaml(path) == content
    assert load_params(path).data.sources[0].dataset == dataset


def search_without_training(project: Project, monkeypatch: pytest.MonkeyPatch, run: Any) -> Search:
    """A search whose trainings take no time."""
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(Training, "run", run)
    folder = project.path / "sweeps/found"
    folder.mkdir(parents=True, exist_ok=True)
    return Search(read(SIMPLE, project.path), read_yaml(project.params), folder, Here(1), Progress(disable=True))


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
    assert {each.trial for each in search.finalists(2, [10, 11])} == {7, 8}, "the best that were not ended"


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
    monkeypatch.setattr("tests.test_sweep.SIMPLE", ODD)
    trained: list[tuple[int, dict]] = []

    def run(training: Training, _: Place, __: ReportAccuracy) -> float:
        content = parse_yaml(training.params.encode(), "")
        trained.append((content["train"]["seeds"][0], content["architectures"]["found"]))
        return len(trained) / 100

    search = search_without_training(project, monkeypatch, run)
    search.run(20)
    searched = [block for _, block in trained]
    assert {8: 1.5} in [block["fit"]["class_weight"] for block in searched]
    assert any(type(block["fit"]["batch_size"]) is int and block["fit"]["batch_size"] > 2**64 for block in searched)
    found = [each.block for each in search_without_training(project, monkeypatch, run).finalists(20, [10, 11])]
    assert all(block in searched for block in found)
    assert len(found) == len({repr(block) for block in searched})
    assert all(parse_yaml(block_text("found", block).encode(), "") == {"found": block} for block in found)
    assert [seed for seed, _ in trained[20:]] == [10, 11] * len(found)
    assert all(block in found for _, block in trained)


def test_a_search_in_which_nothing_can_be_trained_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> float:
        raise TrainingError("params.yaml: architectures.found: expected a finite loss, found nan")

    with pytest.raises(PipelineError, match=r"none of 3 trials could be trained; the last: params.yaml: .* found nan"):
        search_without_training(project, monkeypatch, run).run(3)


def test_trials_of_another_space_are_not_mixed_in(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    search_without_training(project, monkeypatch, lambda *_: 0.5).run(1)
    monkeypatch.setattr("tests.test_sweep.SIMPLE", SIMPLE.replace("0.1", "0.2"))
    with pytest.raises(PipelineError, match="found others; delete the folder, or give the architecture another name"):
        search_without_training(project, monkeypatch, lambda *_: 0.5)


def test_ctrl_c_ends_the_trainings(project: Project) -> None:
    (project.path / "space.yaml").write_text(SIMPLE.replace("epochs: 3", "epochs: 100000"))
    with subprocess.Popen(
        SWEEP, cwd=project.path, env=project.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        checkpoints = project.path / "sweeps/found/trainings"
        wait_until(lambda: process.poll() is not None or list(checkpoints.glob("*/.checkpoints/*/*.npz")))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "interrupted; rerun to continue\n"
    assert process.returncode == 130


@pytest.mark.parametrize("path", sorted((ROOT / "docs/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_spaces_of_the_documentation_are_valid(path: Path) -> None:
    Space.read(path).check(read_yaml(ROOT / "params.yaml"))
