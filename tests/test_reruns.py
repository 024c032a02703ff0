"""What reruns after an edit of params.yaml, on the real dvc.yaml; and what undoing the edit restores."""

import json
from collections.abc import Callable

import pytest

EVERY_TRAIN = {"train@mlp_256", "train@cnn"}
EVERY_EVALUATE = {"evaluate@mlp_256", "evaluate@cnn"}
EVERY_REPORT = {"report@mlp_256", "report@cnn"}
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
    "layers": (
        lambda params: params["architectures"]["mlp_256"]["layers"][1]["Dense"].update(units=9),
        {"train@mlp_256", "evaluate@mlp_256", "report@mlp_256"}),
    "an evaluate setting that changes no figure": (
        lambda params: params["evaluate"].update(batch_size=100),
        EVERY_EVALUATE),
    "a preprocess setting": (
        lambda params: params["preprocess"].update(pixel_max=255),
        {"preprocess"} | EVERY_TRAIN | EVERY_EVALUATE | EVERY_REPORT),
    "a preprocess setting that changes no array": (
        lambda params: params["preprocess"]["samples"].update(first=0),
        {"preprocess"}),
}
STALE = {  # itself; what depends on it follows, as above
    "fit": (lambda params: params["architectures"]["cnn"]["fit"].update(batch_size=40), {"train@cnn"}),
    "add an architecture": (
        lambda params: params["architectures"].update(softmax=SEVENTH),
        {"train@softmax", "evaluate@softmax", "report@softmax"}),
    "remove an architecture": (lambda params: params["architectures"].pop("cnn"), set()),
    "a report setting": (lambda params: params["report"].update(confused_pairs=4), EVERY_REPORT),
    "an overview setting": (lambda params: params["overview"].update(confidence=0.99), set()),
    "an evaluate setting": (lambda params: params["evaluate"].update(decimals=4), EVERY_EVALUATE),
    "the seed": (lambda params: params["train"].update(seed=11), EVERY_TRAIN),
    "the kernels": (lambda params: params["train"].update(kernels="native"), EVERY_TRAIN | EVERY_EVALUATE),
    "the order of keys": (reorder, set()),
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
    changed = project.run("git", "status", "--porcelain", "--untracked-files=no").stdout
    assert changed.split() in ([], ["M", "dvc.lock"]), "undoing the edit left other results behind"


def test_a_comment_makes_nothing_stale(project) -> None:
    project.params.write_text(f"# a comment\n{project.params.read_text()}")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


@pytest.fixture(scope="module")
def edited(built_project, tmp_path_factory):
    """A copy of the built project, whose params.yaml is edited, and not run."""
    return built_project.clone(tmp_path_factory.mktemp("edited") / "project")


@pytest.mark.parametrize(("change", "expected"), STALE.values(), ids=STALE)
def test_an_edit_makes_stale_what_it_affects(edited, change: Callable[[dict], None], expected: set[str]) -> None:
    before = edited.params.read_bytes()
    edited.edit(change)
    assert edited.params.read_bytes() != before
    stale = set(json.loads(edited.run("dvc", "status", "--json").stdout))
    edited.params.write_bytes(before)
    assert stale == expected
