"""`make clean-results`: what params.yaml no longer names goes, and nothing else."""

import re
import shutil
from pathlib import Path

from tools.common.lock import read_lock

from .conftest import Project, on_terminal
from .test_repro import files

CLEAN = ("python", "-m", "tools.clean")
LEFT = ("plots/predictions/cnn.json", "data/models/old/10.keras", "metrics/old.json", ".checkpoints/old/10.npz")


def add(project: Project, *paths: str) -> None:
    for path in paths:
        (project.path / path).parent.mkdir(parents=True, exist_ok=True)
        (project.path / path).write_text("{}")


def test_nothing_is_deleted_while_stages_write_all(project) -> None:
    add(project, ".checkpoints/cnn/10.npz", "data/own.npz", "docs/notes.txt", "data/models/cnn/11.onnx")
    before = files(project)
    assert project.run(*CLEAN, "--yes").stdout == "nothing to delete: a stage of dvc.yaml writes each result\n"
    assert files(project) == before


def test_a_removed_architecture_goes_and_comes_back_untrained(project) -> None:
    before, lock = files(project), (project.path / "dvc.lock").read_text()
    project.edit(lambda params: params["architectures"].pop("cnn"))
    project.repro()
    shown = project.run(*CLEAN, "--yes").stdout
    after = files(project)
    gone = before.keys() - after.keys()
    assert gone == {path for path in before if "cnn" in path and not path.startswith("docs/")}
    assert [line for line in shown.splitlines() if "/" in line] == sorted(gone)
    kept = iter(lock.splitlines())
    assert all(line in kept for line in after["dvc.lock"].decode().splitlines()), "the other lines stay, in their order"
    assert not [stage for stage in read_lock(project.path / "dvc.lock") if "cnn" in stage]
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"

    project.run("git", "checkout", "-q", "params.yaml")
    back = project.repro()
    assert back.restored == {"train@cnn"}
    assert {path: content for path, content in files(project).items() if path in gone} == {p: before[p] for p in gone}


def test_on_a_terminal_it_asks_and_elsewhere_it_needs_yes(project) -> None:
    add(project, *LEFT)
    before = files(project)
    done = project.run(*CLEAN, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: no terminal to ask on; to delete these, run: make clean-results YES=1\n"
    assert files(project) == before

    ends = {"n": "nothing deleted\r\n", "": "nothing deleted\r\n", "y": "deleted 4 files and 0 entries of dvc.lock\r\n"}
    for answer, end in ends.items():
        assert files(project) == before
        status, shown = on_terminal(project, *CLEAN, typed=f"{answer}\n")
        assert status == 0
        assert "delete these? [y/N] " in shown
        assert shown.endswith(end)
    assert before.keys() - files(project).keys() == set(LEFT)

    add(project, *LEFT)
    project.edit(lambda params: params["train"].update(seeds=[]))
    before = files(project)
    done = project.run(*CLEAN, "--yes", check=False)
    assert done.returncode == 1
    assert re.fullmatch("error: params.yaml: train.seeds: .*\n", done.stderr)
    assert files(project) == before, "a mistake in params.yaml deletes something"


def test_links_go_and_what_they_lead_to_stays(project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name, link in (("folder", "metrics/old"), ("named", "data/models/cnn")):
        shutil.rmtree(project.path / link, ignore_errors=True)
        add(project, f"../elsewhere/{name}/99.json", f"../elsewhere/{name}/99.keras")
        (project.path / link).symlink_to(elsewhere / name)
    (elsewhere / "file").write_text("kept")
    (project.path / "metrics/old.json").symlink_to(elsewhere / "file")

    project.run(*CLEAN, "--yes")
    assert not (project.path / "metrics/old.json").is_symlink()
    assert not (project.path / "metrics/old").is_symlink()
    assert (project.path / "data/models/cnn").is_symlink()
    assert (elsewhere / "file").read_text() == "kept"
    assert sorted(path.name for path in elsewhere.rglob("99.*")) == ["99.json", "99.json", "99.keras", "99.keras"]
