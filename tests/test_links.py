"""Output folders that are links: DVC refuses those out of the git repository, but only after the stage has run."""

import shutil
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from stages.support.paths import output_path

from .conftest import Project
from .faults import outputs
from .test_damaged import STAGES


def move_away(project: Project, folder: str, to: Path) -> Path:
    """Moves a folder of results, and links it from where it was."""
    (project.path / folder).rename(to)
    (project.path / folder).symlink_to(to)
    return to


def line(folder: str, to: Path) -> str:
    return (
        f"error: {folder}: a link to {to}, outside the git repository, where DVC records no output; "
        "put a folder in its place; to keep large files elsewhere, run: dvc cache dir --local FOLDER\n"
    )


@pytest.mark.parametrize(
    ("stage", "arguments", "folder"),
    [
        ("fetch", "data/raw/mnist.npz data/raw/mnist.json", "data/raw"),
        ("preprocess", STAGES["preprocess"].replace("new/", "data/"), "data/prepared"),
        ("train", STAGES["train"].replace("new", "data/models/cnn"), "data/models/cnn"),
        ("evaluate", STAGES["evaluate"].replace("new/", "metrics/"), "metrics"),
        ("report", STAGES["report"].replace("new", "plots"), "plots"),
    ],
)
def test_a_stage_fails_before_it_does_its_work(project, stage: str, arguments: str, folder: str, tmp_path) -> None:
    away = move_away(project, folder, tmp_path / "away")
    before = {path: path.stat().st_mtime_ns for path in away.rglob("*")}
    done = project.run("python", "-m", f"stages.{stage}", *arguments.split(), check=False)
    assert (done.returncode, done.stderr) == (1, line(folder, away))
    assert {path: path.stat().st_mtime_ns for path in away.rglob("*")} == before


def test_make_repro_fails_before_anything_runs_and_its_advice_works(project: Project, tmp_path: Path) -> None:
    away = move_away(project, "data/models", tmp_path / "away")
    assert project.run("python", "-m", "tools.repro").stdout.startswith("nothing to run: "), "it needs no output"
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=2))
    before = outputs(project)
    done = project.run("python", "-m", "tools.repro", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line("data/models", away))
    assert outputs(project) == before

    (project.path / "data/models").unlink()
    (project.path / "data/models").mkdir()
    project.run("dvc", "cache", "dir", "--local", str(tmp_path / "large files"))
    project.run("python", "-m", "tools.repro")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert any((tmp_path / "large files").rglob("*"))


def test_other_links_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, away = tmp_path / "a repository/project", tmp_path / "away"
    here.mkdir(parents=True)
    away.mkdir()
    (here.parent / ".git").mkdir()
    monkeypatch.chdir(here)
    (here / "models").mkdir()
    (here / "models/1.keras").symlink_to(away / "an object of a shared cache")  # as DVC makes them
    (here / "inside").symlink_to("../elsewhere in it")
    for path in ("models/1.keras", "inside/1.keras", "new/1.keras", str(away / "1.keras"), "1.keras"):
        assert output_path(path) == Path(path)
    (here / "link").symlink_to(away)
    (here / "broken").symlink_to(tmp_path / "gone")
    for path in ("link/sub/1.keras", "link", "broken/1.keras"):
        with pytest.raises(PipelineError, match=f"^{path.split('/')[0]}: a link to "):
            output_path(path)
    shutil.rmtree(here.parent / ".git")
    assert output_path("link/1.keras") == Path("link/1.keras"), "without git, DVC has no objection"
