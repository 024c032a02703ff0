"""`make clean-results`: what params.yaml no longer names goes, and nothing else."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.common.lock import read_lock

from .conftest import Project, on_terminal
from .test_reruns import EVERY_REPORT, evaluated, trained

CLEAN = ("python", "-m", "tools.clean")
FOREIGN = ("metrics/notes.txt", "metrics/seeds/notes.txt", "plots/old/cnn.png", "data/models/cnn/11.onnx")
FORMER = ("plots/predictions/cnn.json", "data/models/mlp_256.keras", ".checkpoints/old.npz")


@pytest.fixture
def project(seeded, tmp_path: Path) -> Project:
    """A copy with the seeds 10 and 11, and an ensemble."""
    return seeded.clone(tmp_path / "project")


def files(project: Project) -> dict[str, bytes]:
    """Everything but git's and DVC's own: path → content."""
    paths = (path for path in project.path.rglob("*") if path.is_file() or path.is_symlink())
    relative = ((path, path.relative_to(project.path)) for path in paths)
    return {
        str(name): path.read_bytes()
        for path, name in relative
        if name.parts[0] not in (".git", ".dvc") and "__pycache__" not in name.parts
    }


def results_of(contents: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    return ((path, content) for path, content in contents.items() if path.startswith(("data/", "metrics/", "plots/")))


def results(project: Project) -> dict[str, bytes]:
    return dict(results_of(files(project)))


def add(project: Project, *paths: str) -> None:
    for path in paths:
        (project.path / path).parent.mkdir(parents=True, exist_ok=True)
        (project.path / path).write_text("{}")


def test_nothing_is_deleted_while_all_is_named(project) -> None:
    add(project, *FOREIGN, ".checkpoints/cnn/10.npz")
    before = files(project)
    assert project.run(*CLEAN, "--yes").stdout == "nothing to delete: params.yaml names all results\n"
    assert files(project) == before


def test_a_removed_seed_goes_and_comes_back_untrained(project) -> None:
    before = files(project)
    of_seed = {path for path in before if path.rpartition("/")[2].startswith("11.")}
    assert len(of_seed) == 2 * 4
    reports = EVERY_REPORT | {"ensemble@both"}
    project.edit(lambda params: params["train"].update(seeds=[10]))
    assert project.repro().ran == reports
    of_one = files(project)

    shown = project.run(*CLEAN, "--yes").stdout
    assert "\n\ncnn:\n  data/models/cnn/11.csv\n  data/models/cnn/11.keras\n" in shown
    assert "\n\ndvc.lock:\n  train@mlp_256-11\n" in shown
    assert before.keys() - files(project).keys() == of_seed
    assert read_lock(project.path / "dvc.lock").keys() & (trained(11) | evaluated(11)) == set()
    assert set(json.loads(project.run("dvc", "status", "--json").stdout)) == reports
    assert project.repro().ran == reports, "they depend on the folder metrics/seeds/"
    assert results(project) == {path: content for path, content in results_of(of_one) if path not in of_seed}

    project.run("git", "checkout", "-q", "params.yaml")
    assert project.repro().restored == trained(11) | evaluated(11)
    assert results(project) == dict(results_of(before))


def test_a_removed_architecture_and_ensemble_leave_only_foreign_files(project) -> None:
    add(project, *FOREIGN, *FORMER, ".checkpoints/cnn/12.npz")
    project.edit(lambda params: [params["architectures"].pop("cnn"), params["ensembles"].pop("both")])
    before, lock = files(project), (project.path / "dvc.lock").read_text()
    shown = project.run(*CLEAN, "--yes").stdout
    after = files(project)

    gone = before.keys() - after.keys()
    assert sorted(line.strip() for line in shown.splitlines() if "/" in line) == sorted(gone)
    results = [path for path in after if not path.startswith("docs/")]
    assert {path for path in results if "cnn" in path or "both" in path} == {path for path in FOREIGN if "cnn" in path}
    assert not gone & set(FOREIGN)
    assert gone >= set(FORMER)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {"dvc.lock"}
    kept = iter(lock.splitlines())
    assert all(line in kept for line in after["dvc.lock"].decode().splitlines()), "the other lines stay, in their order"
    assert {stage for stage in read_lock(project.path / "dvc.lock") if "cnn" in stage or "both" in stage} == set()
    assert not (project.path / "metrics/ensembles").exists()
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


def test_on_a_terminal_it_asks_and_elsewhere_it_needs_yes(project) -> None:
    add(project, *FORMER)
    before = files(project)
    done = project.run(*CLEAN, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: no terminal to ask on; to delete these, run: make clean-results YES=1\n"
    assert files(project) == before

    for answer, ends in (("n", "nothing deleted\r\n"), ("", "nothing deleted\r\n"), ("y", "deleted 3 files\r\n")):
        assert files(project) == before
        status, shown = on_terminal(project, *CLEAN, typed=f"{answer}\n")
        assert status == 0
        assert "delete these 3 files? [y/N] " in shown
        assert shown.endswith(ends)
    assert before.keys() - files(project).keys() == set(FORMER)


def test_a_mistake_in_params_deletes_nothing(project) -> None:
    add(project, *FORMER)
    project.edit(lambda params: params["train"].update(seeds=[]))
    before = files(project)
    done = project.run(*CLEAN, "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: train.seeds: ")
    assert done.stderr.count("\n") == 1
    assert files(project) == before


def test_links_go_and_what_they_lead_to_stays(project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, link in (("folder", "metrics/seeds/old"), ("named", "data/models/cnn")):
        folder = project.path / link
        shutil.rmtree(folder, ignore_errors=True)
        add(project, f"../elsewhere/{name}/99.json", f"../elsewhere/{name}/99.keras")
        folder.symlink_to(elsewhere / name)
    (elsewhere / "file").write_text("kept")
    (project.path / "metrics/old.json").symlink_to(elsewhere / "file")

    project.run(*CLEAN, "--yes")
    assert not (project.path / "metrics/old.json").is_symlink()
    assert not (project.path / "metrics/seeds/old").is_symlink()
    assert (project.path / "data/models/cnn").is_symlink()
    assert (elsewhere / "file").read_text() == "kept"
    assert sorted(path.name for path in elsewhere.rglob("99.*")) == ["99.json", "99.json", "99.keras", "99.keras"]
