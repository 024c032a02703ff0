"""`make repro ALLOW_MISSING=1`: in a fresh clone, without data, models and a cache, only what an edit affects runs."""

from pathlib import Path

from stages.data.archive import write_archive

from .conftest import Project, tiny_archive
from .faults import outputs
from .test_repro import REPRO, ran

OF_MLP = ["train@mlp_256", "evaluate@mlp_256", "report@mlp_256"]


def test_an_edit_runs_what_it_affects_and_what_that_needs(built_project: Project, tmp_path: Path) -> None:
    fresh = built_project.git_clone(tmp_path / "clone")
    done = fresh.run(*REPRO, "--allow-missing")
    line = "not here, and not needed: the models of train@mlp_256, train@cnn; dvc repro restores or trains them\n"
    assert done.stdout == f"nothing to run: nothing has changed\n{line}"

    fresh.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=1))
    done = fresh.run(*REPRO, "--allow-missing")
    assert ran(done.stdout) == ["fetch", "preprocess", *OF_MLP]
    assert done.stdout.endswith("the models of train@cnn; dvc repro restores or trains them\n")
    changed = fresh.run("git", "diff", "--name-only").stdout.split()
    assert changed
    assert not [path for path in changed if "cnn" in path or path.startswith("data/")]

    fresh.run("git", "checkout", "-q", "params.yaml")
    fresh.repro()
    fresh.overview()
    assert outputs(fresh) == outputs(built_project)


def test_other_data_than_recorded_make_everything_stale(project: Project, tmp_path: Path, monkeypatch) -> None:
    for home, train in (("here", 300), ("there", 200)):
        (tmp_path / home / "datasets").mkdir(parents=True)
        write_archive(tmp_path / home / "datasets/my.npz", tiny_archive(train))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "here"))
    project.edit(lambda params: params["data"]["sources"][0].update(places=["keras:my.npz"]))
    project.repro()
    project.commit("the same data from another place")
    clone = project.git_clone(tmp_path / "clone")
    clone.edit(lambda params: params["data"]["sources"][0].update(places=["nowhere.npz", "keras:my.npz"]))
    done = clone.run(*REPRO, "--allow-missing")
    assert ran(done.stdout) == ["fetch", "preprocess"], "the same data"
    assert "not looked at" not in done.stdout, "fetch has just read it"
    clone = project.git_clone(tmp_path / "second")
    clone.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=1))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "there"))
    done = clone.run(*REPRO, "--allow-missing")
    assert "\nthe data differ from those of the recorded results; what depends on them runs, too\n" in done.stdout
    assert {"train@cnn", *OF_MLP} <= set(ran(done.stdout))
    assert "not here" not in done.stdout
