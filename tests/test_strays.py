"""Files that editors, notebooks and systems leave in folders that stages read or write: they change nothing."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from stages.models.identity import code, shared_identity
from tools.common.revision import WORKSPACE, Revision
from tools.review.stages import stale

from .conftest import ROOT, Project

# fmt: off
STRAYS = [
    ".DS_Store", "._10.json", "._errors.csv", "._files.py", "._10.keras", "Icon\r", "Thumbs.db", "desktop.ini",
    ".10.json.swp", "4913", "10.json~", "#10.json#", ".#10.json", "10.json.orig", "10.orig.json", "10 copy.json",
    "10.sync-conflict-20250101-120000-ABCDEFG.json", "errors (1).csv", "~$errors.csv", ".~lock.errors.csv#",
    ".ipynb_checkpoints/10-checkpoint.json", ".ipynb_checkpoints/errors-checkpoint.csv",
    "__pycache__/files.cpython-311.pyc", ".nfs000000000001", "images.npy.tmp", "notes.md",
]
# fmt: on
FOLDERS = {  # that stages read or write, and what of them counts
    "stages/common": ["files.py", "__init__.py", "requirements.txt"],
    "data/prepared/test": ["dataset.json", "images.npy"],
    "data/models/cnn-2": ["10.keras", "10.csv", "summary.txt", "identities.json"],
    "plots/tables/cnn": ["errors.csv", "confusion_normalised.csv"],
}


def scatter(root: Path, folders: Iterable[str]) -> None:
    """Puts every stray file into each folder."""
    for path in (root / folder / stray for folder in folders for stray in STRAYS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("stray")


def test_stray_files_rerun_nothing_and_no_review_says_stale(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    data, stages = project.path / "data/prepared/train", project.path / "stages"
    before = shared_identity("portable", data), code(stages)
    folders = {path.parent for path in project.path.glob("[dmps]*/**/*") if path.is_file()}
    scatter(project.path, [str(folder.relative_to(project.path)) for folder in folders])
    (stages / "models/._models.py").write_bytes(b"\0\5\x16\7 of macOS")
    assert (shared_identity("portable", data), code(stages)) == before
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    project.run("dvc", "repro")
    project.commit("strays, by git add -A")
    assert project.run("git", "show", "--stat=200", "HEAD").stdout.count(".DS_Store") > 9
    assert "dvc.lock" not in project.run("git", "show", "--stat", "HEAD").stdout
    monkeypatch.chdir(project.path)
    assert stale(WORKSPACE) == []
    assert stale(Revision.find("HEAD")) == []


def test_strays_are_ignored_in_each_folder_and_what_stages_read_and_write_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a pipeline that does nothing with these folders, and the real .dvcignore."""
    project = Project(tmp_path)
    paths = [(folder, tmp_path / folder / name) for folder, names in FOLDERS.items() for name in names]
    for _, path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    (tmp_path / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
    outs = ["data/prepared/test", {"plots/tables/cnn": {"cache": False}}]
    stages = {folder.replace("/", "-"): {"cmd": f"ls {folder}", "deps": [folder]} for folder in FOLDERS}
    every = {*stages, "write"}
    written = {"write": {"cmd": "ls", "deps": ["data/models/cnn-2"], "outs": outs}}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages | written}))
    project.run("dvc", "init", "--no-scm")
    project.run("dvc", "commit", "--force")
    monkeypatch.chdir(tmp_path)
    before = {folder: WORKSPACE.digest(folder) for folder in FOLDERS}
    scatter(tmp_path, FOLDERS)
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert {folder: WORKSPACE.digest(folder) for folder in FOLDERS} == before

    assert project.run("dvc", "check-ignore", *(str(path) for _, path in paths), check=False).stdout == ""
    for folder, path in paths:
        earlier = WORKSPACE.digest(folder)
        path.write_text("2")
        assert WORKSPACE.digest(folder) != earlier, path
    assert set(json.loads(project.run("dvc", "status", "--json").stdout)) == every
