"""What reruns after an edit of params.yaml, on the real dvc.yaml; and what undoing the edit restores."""

import json
from collections.abc import Callable, Sequence
from itertools import chain, starmap
from statistics import mean

import pytest

from .conftest import Project

NAMES = ("mlp_256", "cnn")


def of(*stages: str, names: Sequence[str] = NAMES) -> set[str]:
    """The stages of architectures."""
    return {f"{stage}@{name}" for stage in stages for name in names}


def reorder(params: dict) -> None:
    for mapping in (params, params["architectures"], params["architectures"]["mlp_256"]["fit"]):
        for key in list(mapping)[:-1]:
            mapping[key] = mapping.pop(key)


# fmt: off
RUN = {
    "a preprocess setting": (
        lambda params: params["preprocess"].update(pixel_max=255),
        {"preprocess"} | of("train", "evaluate", "report")),
    "an evaluate setting that changes no prediction": (
        lambda params: params["evaluate"].update(batch_size=100),
        of("evaluate")),
    "a preprocess setting that changes no array": (
        lambda params: params["preprocess"]["samples"].update(first=0),
        {"preprocess"}),
}
STALE = {  # itself; what depends on it follows, as above
    "fit": (lambda params: params["architectures"]["cnn"]["fit"].update(batch_size=40), {"train@cnn"}),
    "add an architecture": (
        lambda params: params["architectures"].update(new=params["architectures"]["cnn"]),
        of("train", "evaluate", "report", names=["new"])),
    "remove an architecture": (lambda params: params["architectures"].pop("cnn"), set()),
    "an overview setting": (lambda params: params["overview"].update(confidence=0.99), set()),
    "the kernels": (lambda params: params["train"].update(kernels="native"), of("train", "evaluate")),
    "the order of keys": (reorder, set()),
    "add a seed": (lambda params: params["train"].update(seeds=[10, 11]), of("train", "evaluate", "report")),
}
# fmt: on


@pytest.mark.parametrize(("change", "expected"), RUN.values(), ids=RUN)
def test_an_edit_reruns_what_it_affects_and_undoing_it_trains_nothing(project, change, expected: set[str]) -> None:
    before = project.params.read_bytes()
    project.edit(change)
    assert project.repro().ran == expected
    assert project.repro().ran == set(), "a second run found something left to do"

    project.params.write_bytes(before)
    undone = project.repro()
    assert undone.ran <= of("evaluate", "report") & expected, "what is in the run-cache ran"
    assert undone.restored <= expected
    assert modified(project) in ([], ["dvc.lock"]), "undoing the edit left other results behind"


@pytest.fixture(scope="module")
def edited(built_project, tmp_path_factory):
    """A copy of the built project, whose params.yaml is edited, and not run."""
    return built_project.clone(tmp_path_factory.mktemp("edited") / "project")


@pytest.mark.parametrize(("change", "expected"), STALE.values(), ids=STALE)
def test_an_edit_makes_stale_what_it_affects(edited, change: Callable[[dict], None], expected: set[str]) -> None:
    before = edited.params.read_bytes()
    edited.edit(change)
    after, status = edited.params.read_bytes(), edited.run("dvc", "status", "--json").stdout
    edited.params.write_bytes(before)
    assert after != before
    assert set(json.loads(status)) == expected


def modified(project: Project) -> list[str]:
    """The tracked files that differ from HEAD."""
    return project.run("git", "diff", "--name-only", "HEAD").stdout.split()


def test_a_new_seed_leaves_the_results_of_the_others_and_metrics_are_of_both(built_project, seeded) -> None:
    for name in NAMES:
        path = f"metrics/predictions/{name}.json"
        one, both = (json.loads((project.path / path).read_text()) for project in (built_project, seeded))
        assert [both[key][0] for key in ("seeds", "models", "loss", "prediction", "probability")] == [
            one[key][0] for key in ("seeds", "models", "loss", "prediction", "probability")
        ]
        assert both["prediction"][0] != both["prediction"][1]
        accuracy = mean(starmap(int.__eq__, zip(2 * both["label"], chain(*both["prediction"]), strict=True)))
        metrics = json.loads((seeded.path / f"metrics/{name}.json").read_text())
        assert metrics["accuracy"] == pytest.approx(accuracy, abs=2e-6)
