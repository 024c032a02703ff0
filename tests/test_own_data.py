"""One's own data sets: what DVC sees in data/own/; what is printed about data that it does not see."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from stages.data.archive import write_archive
from stages.data.folders import SUFFIXES
from stages.data.places import unseen
from stages.support.params import Source
from tools.common.revision import Revision
from tools.common.surroundings import copy_own_data
from tools.common.unseen import unseen_by_review
from tools.review.stages import stale

from .conftest import Project, tiny_archive
from .faults import outputs
from .reviews import pages, review
from .test_fetch import run_fetch

OWN = "data/own/digits.npz"
FETCH = ("python", "-m", "stages.fetch", "data/raw/mnist.npz", "data/raw/mnist.json")
LINE = "not looked at: my.npz: it has no sha256 in params.yaml; to read it again, run: dvc repro --force fetch"


def replace(project: Project, place: str = OWN, train: int = 200) -> str:
    """Puts other data at a place; returns their digest."""
    archive = tiny_archive(train)
    (project.path / place).unlink(missing_ok=True)
    write_archive(project.path / place, archive)
    return archive.sha256()


def fetched(project: Project) -> str:
    return json.loads((project.path / "data/raw/mnist.json").read_text())["sha256"]


def read_from(project: Project, place: str, **pinned: str) -> None:
    """Names one place for the data, with no change of their name."""
    source = {"dataset": "tiny digits", **pinned, "places": [place]}
    project.edit(lambda params: params["data"].update(sources=[source]))


def test_dvc_sees_a_replaced_file_a_new_one_and_what_a_link_leads_to(project: Project, tmp_path: Path) -> None:
    def status() -> dict:
        return json.loads(project.run("dvc", "status", "--json").stdout)

    changed = {"fetch": [{"changed deps": {"data/own": "modified"}}]}
    digest = replace(project)
    assert status() == changed
    assert "fetch: data/own modified" in stale(Revision("workspace", None, project.path))
    project.repro("fetch")
    assert fetched(project) == digest
    assert "fetch" not in status()

    (project.path / "data/own/a folder").mkdir()
    (tmp_path / "data.npz").write_bytes(b"1")
    (project.path / "data/own/a folder/new.npz").symlink_to(tmp_path / "data.npz")
    assert status()["fetch"] == changed["fetch"]
    project.run("dvc", "commit", "--force", "fetch")
    assert "fetch" not in status()
    (tmp_path / "data.npz").write_bytes(b"22")
    assert status()["fetch"] == changed["fetch"]


def test_nothing_else_in_the_folder_counts(project: Project) -> None:
    folder = project.path / "data/own"
    for stray in ("README.md", ".DS_Store", ".digits.npz.swp", "digits.npz~", ".ipynb_checkpoints/a.ipynb", "a.csv"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_text("a stray")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert project.run("git", "status", "--porcelain").stdout == " M data/own/README.md\n"
    suffixes = [*SUFFIXES, *map(str.upper, SUFFIXES), ".npz", ".dvc"]
    read = [f"data/own/{folder}/1{suffix}" for folder in ("pets/cat", "pets/test/cat") for suffix in suffixes]
    assert project.run("dvc", "check-ignore", *read, check=False).stdout == "", "DVC sees whatever fetch reads"
    assert stale(Revision("workspace", None, project.path)) == []
    for path in folder.glob("*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    project.run("git", "checkout", "-q", "HEAD~1", "--", "data/own/README.md")
    assert "data/own" in project.run("dvc", "status").stdout, "a folder that only has its README is a dependency too"


def test_what_dvc_add_tracks_reaches_a_clone_and_its_review(project: Project, tmp_path: Path) -> None:
    project.run("git", "rm", "-q", "--cached", OWN)
    project.run("dvc", "add", "-q", OWN)
    project.run("dvc", "commit", "--force", "-q", "fetch")
    project.commit("tracked by DVC")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "-q", "-c", "core.autocrlf=true", ".", str(clone.path))  # as on Windows
    assert not (clone.path / OWN).exists()
    assert stale(Revision("clone", None, clone.path)) == []
    clone.run("dvc", "cache", "dir", "--local", str(project.path / ".dvc/cache"))
    clone.run("dvc", "checkout", "-q")
    assert clone.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"

    tracked = clone.path / f"{OWN}.dvc"
    tracked.write_text(tracked.read_text().replace("md5: ", "md5: 0", 1))
    (clone.path / OWN).unlink()
    assert stale(Revision("clone", None, clone.path)) == ["fetch: data/own modified"]


def test_a_folder_that_dvc_add_tracks_reaches_a_clone(project: Project, tmp_path: Path) -> None:
    for number in range(30):
        (path := project.path / f"data/own/pets/{number % 3}/{number}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    read_from(project, "data/own/pets")
    project.run("dvc", "add", "-q", "data/own/pets")
    project.repro("fetch")
    project.commit("tracked by DVC")
    assert "fetch: data/own modified" not in stale(Revision("here", None, project.path))
    clone = project.git_clone(tmp_path / "clone")
    reason = "data/own/pets.dvc in clone: git does not have the list of files of this folder"
    assert unseen_by_review(Revision("clone", None, clone.path)) == [f"not looked at: data/own/pets: {reason}"]
    assert "fetch: data/own modified" not in stale(Revision("clone", None, clone.path))
    clone.run("dvc", "cache", "dir", "--local", str(project.path / ".dvc/cache"))
    clone.run("dvc", "checkout", "-q", "data/own/pets.dvc")
    assert "data/own" not in clone.run("dvc", "status", "fetch").stdout
    (clone.path / "data/own/pets/0/0.png").unlink()
    assert "fetch: data/own modified" in stale(Revision("clone", None, clone.path))


def test_a_file_that_is_there_and_damaged_is_an_error_and_no_earlier_copy_stands_in(project: Project) -> None:
    right, before = fetched(project), outputs(project)

    def fails(reason: str) -> None:
        done = project.run(*FETCH, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: params.yaml: data.sources: could not get the data set ({reason}")
        assert done.stderr.count("\n") == 1
        assert outputs(project) == before

    (project.path / OWN).write_text("<html>Please log in</html>")
    fails(f"{OWN}: not a data set: ")
    (project.path / OWN).unlink()
    (project.path / OWN).symlink_to("nowhere")
    fails(f"{OWN}: no such file")
    read_from(project, OWN, sha256=right)
    fails(f"{OWN}: expected arrays with SHA-256 {right}, found {replace(project)}; ")


def test_the_earlier_copy_stands_in_for_its_own_place_only(project: Project, tmp_path: Path) -> None:
    write_archive(tmp_path / "away/digits.npz", tiny_archive())
    read_from(project, "data/own/other.npz")
    done = project.run(*FETCH, check=False)
    assert done.returncode == 1
    assert "could not get the data set (data/own/other.npz: no such file)" in done.stderr
    (project.path / "data/own/link").symlink_to(tmp_path / "away")
    read_from(project, "data/own/link/digits.npz")
    printed = project.run(*FETCH).stderr
    assert printed.startswith("NOTICE: changes of data/own/link/digits.npz are not seen"), "behind a link to a folder"


SEEN = (OWN, "./data/own/sub/a.npz", "embedded:digits")
UNSEEN = ("my.npz", "~/my.npz", "/srv/my.npz", "keras:mnist.npz", "https://example.org/mnist.npz", "data/own/my.dat")
UNSEEN += ("data/own/../my.npz", "data/owned/my.npz", "keras:data/own/my.npz")


@pytest.mark.parametrize("place", [*SEEN, *UNSEEN])
def test_where_a_change_is_not_seen(place: str) -> None:
    source = Source(dataset="x", places=["a.npz", place, "b.npz"])
    assert unseen(source, place) == (["a.npz"] if place in SEEN else ["a.npz", place])
    assert unseen(source.model_copy(update={"sha256": "0" * 64}), place) == []


def test_fetch_prints_the_line_that_pins(tmp_path: Path) -> None:
    write_archive(tmp_path / "my.npz", tiny_archive())
    source = "    - dataset: mine\n{}      places: [my.npz]\n"
    done = run_fetch(tmp_path, source.format(""))
    assert done.stderr.startswith("NOTICE: changes of my.npz are not seen: ")
    pin = done.stderr.splitlines()[-1]
    assert pin == f'sha256: "{tiny_archive().sha256()}"'
    assert run_fetch(tmp_path, source.format(f"      {pin}\n")).stderr == ""
    write_archive(tmp_path / "my.npz", other := tiny_archive(200))
    shutil.rmtree(tmp_path / "out")
    done = run_fetch(tmp_path, source.format(f"      {pin}\n"))
    assert re.search(rf"^error: .*my.npz: expected .*{tiny_archive().sha256()}, found {other.sha256()}", done.stderr)


def test_repro_and_review_say_what_they_did_not_look_at(project: Project) -> None:
    replace(project, "my.npz", train=300)
    read_from(project, "my.npz")
    project.repro()
    project.overview()
    project.commit("an unpinned place")
    replace(project, "my.npz")
    nothing = "nothing to run: models and results are up to date\n"
    assert project.run("python", "-m", "tools.repro").stdout == f"{nothing}{LINE}\n"
    assert LINE in review(project, "HEAD~1", "--fail-on", "stale")
    for page in pages(project):
        assert LINE.partition("; ")[0] in page

    digest = fetched(project)
    project.repro("--force", "fetch")  # as the line advises
    assert fetched(project) != digest


def test_a_review_says_that_git_does_not_have_the_file(project: Project) -> None:
    project.run("git", "rm", "-q", "--cached", OWN)
    project.commit("not in git")
    commit = project.run("git", "rev-parse", "--short=7", "HEAD").stdout.strip()
    printed = review(project, "HEAD~1", "HEAD", "--fail-on", "stale")
    assert f"not looked at: {OWN}: not in HEAD ({commit})\n" in printed
    assert "not looked at" not in review(project, "HEAD")
    read_from(project, OWN, sha256=fetched(project))
    project.commit("pinned by its digest")
    assert "not looked at" not in review(project, "HEAD~1", "HEAD")


def test_a_copy_of_the_project_has_the_own_data_and_writes_nothing_behind_links(tmp_path: Path, monkeypatch) -> None:
    here, copy, away = tmp_path / "here", tmp_path / "copy", tmp_path / "away"
    for name in ("a.npz", "pets/cat/1.png", "link/c.npz", "kept.npz"):
        (here / "data/own" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "data/own" / name).write_text("here")
    (copy / "data/own").mkdir(parents=True)
    away.mkdir()
    (copy / "data/own/link").symlink_to(away)
    (copy / "data/own/kept.npz").write_text("there")
    monkeypatch.chdir(here)
    copy_own_data(copy)
    texts = {str(path.relative_to(copy / "data/own")): path.read_text() for path in copy.rglob("*.*") if path.is_file()}
    assert texts == {"a.npz": "here", "pets/cat/1.png": "here", "kept.npz": "there"}
    assert not any(away.iterdir())
