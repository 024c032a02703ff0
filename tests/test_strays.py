"""Files that editors, notebooks and systems leave in folders that stages read or write: they change nothing."""

import pytest

from stages.models.identity import code, shared_identity
from tools.common.revision import WORKSPACE, Revision
from tools.review.stages import stale

from .conftest import Project

# fmt: off
STRAYS = [
    ".DS_Store", "._10.json", "._errors.csv", "._files.py", "._10.keras", "Icon\r", "Thumbs.db", "desktop.ini",
    ".10.json.swp", "4913", "10.json~", "#10.json#", ".#10.json", "10.json.orig", "10.orig.json", "10 copy.json",
    "10.sync-conflict-20250101-120000-ABCDEFG.json", "errors (1).csv", "~$errors.csv", ".~lock.errors.csv#",
    ".ipynb_checkpoints/10-checkpoint.json", ".ipynb_checkpoints/errors-checkpoint.csv",
    "__pycache__/files.cpython-311.pyc", ".nfs000000000001", "images.npy.tmp", "notes.md",
]
# fmt: on


def test_stray_files_rerun_nothing_and_no_review_says_stale(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    data, stages = project.path / "data/prepared/train", project.path / "stages"
    before = shared_identity("portable", data), code(stages)
    files = [path for path in project.path.glob("[dmps]*/**/*") if path.is_file() and "__pycache__" not in path.parts]
    ignored = project.run("dvc", "check-ignore", *map(str, files), check=False).stdout.split()
    assert ignored == [str(project.path / "data/own/README.md")], "what stages use counts"
    own = [".checkpoints/cnn/10.npz", "sweeps/found/trainings/1/dvc.yaml"]
    assert project.run("dvc", "check-ignore", *own).stdout.split() == own
    for stray in (folder / stray for folder in {path.parent for path in files} for stray in STRAYS):
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("stray")
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
