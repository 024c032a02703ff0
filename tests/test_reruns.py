"""What reruns after an edit of params.yaml, on the real dvc.yaml; and what undoing the edit restores."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev

import pytest

from .conftest import Project

NAMES = ("mlp_256", "cnn")
EVERY_REPORT = {f"report@{name}" for name in NAMES}


def trained(*seeds: int, names: Sequence[str] = NAMES) -> set[str]:
    return {f"train@{name}-{seed}" for name in names for seed in seeds}


def evaluated(*seeds: int, names: Sequence[str] = NAMES) -> set[str]:
    return {f"evaluate@{name}-{seed}" for name in names for seed in seeds}


SEVENTH = {
    "layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}],
    "fit": {"epochs": 1, "batch_size": 50},
}


def reorder(params: dict) -> None:
    for mapping in (params, params["architectures"], params["architectures"]["mlp_256"]["fit"]):
        for key in list(mapping)[:-1]:
            mapping[key] = mapping.pop(key)


# fmt: off
RUN = {
    "a preprocess setting": (
        lambda params: params["preprocess"].update(pixel_max=255),
        {"preprocess"} | trained(10) | evaluated(10) | EVERY_REPORT),
    "an evaluate setting that changes the last decimal of cnn's probabilities and none of mlp_256's": (
        lambda params: params["evaluate"].update(batch_size=100),
        evaluated(10) | {"report@cnn"}),
    "a preprocess setting that changes no array": (
        lambda params: params["preprocess"]["samples"].update(first=0),
        {"preprocess"}),
}
STALE = {  # itself; what depends on it follows, as above
    "fit": (lambda params: params["architectures"]["cnn"]["fit"].update(batch_size=40), {"train@cnn-10"}),
    "add an architecture": (
        lambda params: params["architectures"].update(softmax=SEVENTH),
        {"train@softmax-10", "evaluate@softmax-10", "report@softmax"}),
    "remove an architecture": (lambda params: params["architectures"].pop("cnn"), set()),
    "a report setting": (lambda params: params["report"].update(confused_pairs=4), EVERY_REPORT),
    "an overview setting": (lambda params: params["overview"].update(confidence=0.99), set()),
    "an evaluate setting": (lambda params: params["evaluate"].update(decimals=4), evaluated(10) | EVERY_REPORT),
    "the kernels": (lambda params: params["train"].update(kernels="native"), trained(10) | evaluated(10)),
    "the order of keys": (reorder, set()),
}
OF_SEEDS = {  # with seeds [10, 11], and an ensemble `both` of mlp_256
    "add a seed": (
        lambda params: params["train"].update(seeds=[10, 11, 12]),
        trained(12) | evaluated(12) | EVERY_REPORT | {"ensemble@both"}),
    "remove a seed": (lambda params: params["train"].update(seeds=[10]), EVERY_REPORT | {"ensemble@both"}),
    "change a seed": (
        lambda params: params["train"].update(seeds=[10, 12]),
        trained(12) | evaluated(12) | EVERY_REPORT | {"ensemble@both"}),
    "the order of seeds": (lambda params: params["train"].update(seeds=[11, 10]), EVERY_REPORT | {"ensemble@both"}),
    "an architecture": (
        lambda params: params["architectures"]["cnn"]["fit"].update(batch_size=40), trained(10, 11, names=["cnn"])),
    "add an architecture": (
        lambda params: params["architectures"].update(softmax=SEVENTH),
        trained(10, 11, names=["softmax"]) | evaluated(10, 11, names=["softmax"]) | {"report@softmax"}),
    "add an ensemble": (
        lambda params: params["ensembles"].update(more={"members": ["cnn", {"mlp_256": [11]}]}), {"ensemble@more"}),
    "edit an ensemble": (
        lambda params: params["ensembles"]["both"].update(members=["mlp_256", "cnn"]), {"ensemble@both"}),
    "remove an ensemble": (lambda params: params["ensembles"].pop("both"), set()),
}
# fmt: on


@pytest.mark.parametrize(("change", "expected"), RUN.values(), ids=RUN)
def test_an_edit_reruns_what_it_affects_and_undoing_it_reruns_reports_alone(
    project, change: Callable[[dict], None], expected: set[str]
) -> None:
    before = project.params.read_bytes()
    project.edit(change)
    assert project.repro().ran == expected
    assert project.repro().ran == set(), "a second run found something left to do"

    project.params.write_bytes(before)
    undone = project.repro()
    assert undone.ran <= EVERY_REPORT & expected, "what is in the run-cache ran"
    assert undone.restored <= expected
    assert modified(project) in ([], ["dvc.lock"]), "undoing the edit left other results behind"


def test_a_comment_makes_nothing_stale(project) -> None:
    project.params.write_text(f"# a comment\n{project.params.read_text()}")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


@pytest.fixture(scope="module")
def edited(built_project, tmp_path_factory):
    """A copy of the built project, whose params.yaml is edited, and not run."""
    return built_project.clone(tmp_path_factory.mktemp("edited") / "project")


@pytest.fixture(scope="module")
def edited_seeds(seeded, tmp_path_factory):
    """The same with two seeds and an ensemble."""
    return seeded.clone(tmp_path_factory.mktemp("edited_seeds") / "project")


def stale(project: Project, change: Callable[[dict], None]) -> set[str]:
    before = project.params.read_bytes()
    project.edit(change)
    assert project.params.read_bytes() != before
    status = project.run("dvc", "status", "--json").stdout
    project.params.write_bytes(before)
    return set(json.loads(status))


@pytest.mark.parametrize(("change", "expected"), STALE.values(), ids=STALE)
def test_an_edit_makes_stale_what_it_affects(edited, change: Callable[[dict], None], expected: set[str]) -> None:
    assert stale(edited, change) == expected


@pytest.mark.parametrize(("change", "expected"), OF_SEEDS.values(), ids=OF_SEEDS)
def test_an_edit_of_seeds_and_ensembles_makes_stale_what_it_affects(
    edited_seeds, change: Callable[[dict], None], expected: set[str]
) -> None:
    assert stale(edited_seeds, change) == expected


def test_an_edit_of_an_architecture_reruns_its_seeds_and_ensembles_and_undoing_it_trains_nothing(
    seeded, tmp_path: Path
) -> None:
    project = seeded.clone(tmp_path / "project")
    project.edit(lambda params: params["architectures"]["cnn"]["layers"][0]["Conv2D"].update(filters=3))
    models = trained(10, 11, names=["cnn"]) | evaluated(10, 11, names=["cnn"])
    reports = {"report@cnn", "ensemble@both"}  # an ensemble depends on all of metrics/seeds/, of its members or not
    assert project.repro().ran == models | reports
    assert [path for path in modified(project) if "mlp_256" in path or "both" in path] == []

    project.run("git", "checkout", "-q", "params.yaml")
    undone = project.repro()
    assert undone.restored == models
    assert undone.ran == reports
    assert modified(project) in ([], ["dvc.lock"])


def modified(project: Project) -> list[str]:
    """The tracked files that differ from HEAD."""
    return project.run("git", "diff", "--name-only", "HEAD").stdout.split()


def test_a_new_seed_leaves_the_results_of_the_others_and_metrics_are_of_both(built_project, seeded) -> None:
    for name in NAMES:
        paths = [f"metrics/seeds/{name}/{seed}.json" for seed in (10, 11)]
        models = [json.loads((seeded.path / path).read_text()) for path in paths]
        assert (built_project.path / paths[0]).read_bytes() == (seeded.path / paths[0]).read_bytes()
        assert models[0]["prediction"] != models[1]["prediction"]

        right = [mean(map(int.__eq__, model["label"], model["prediction"])) for model in models]
        metrics = json.loads((seeded.path / f"metrics/{name}.json").read_text())
        expected = {
            "accuracy": mean(right),
            "accuracy_sd": stdev(right),
            "accuracy_min": min(right),
            "accuracy_max": max(right),
            "loss": mean(model["model"][0]["loss"] for model in models),
            "errors": 100 - 100 * mean(right),
        }
        assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=2e-6)


def test_an_experiment_with_one_seed_reports_that_seed(built_project, seeded, tmp_path: Path) -> None:
    project = seeded.clone(tmp_path / "project")
    project.run("dvc", "exp", "run", "--name", "alone", "-S", "train.seeds=[10]")
    assert project.run("dvc", "exp", "list", "--name-only").stdout.split() == ["alone"]
    for name in NAMES:
        metrics = f"metrics/{name}.json"
        assert (project.path / metrics).read_bytes() == (built_project.path / metrics).read_bytes()
