"""The advice in messages works: the damage is real, and the commands that they print are run."""

import json
import re
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.data.archive import write_archive
from stages.data.places import EMBEDDED
from stages.support.dvc_cache import _md5
from tools.common.lock import digests

from .conftest import ROOT, Project, tiny_archive
from .faults import copy_in_cache, lock, outputs
from .test_damaged import STAGES

MODEL, PREDICTIONS = "data/models/cnn/10.keras", "metrics/predictions/cnn.json"
ARCHIVE, IMAGES = "data/raw/mnist.npz", "data/prepared/train/images.npy"
CACHE = ".dvc/cache/files/md5"
Damage = Callable[[Project], object]


def write_in_place(path: Path, content: bytes) -> None:
    """Overwrites a file as root or an editor does that ignores its mode, and leaves the mode as it was."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | stat.S_IWUSR)
    path.write_bytes(content)
    path.chmod(mode)


def workspace(path: str) -> Damage:
    return lambda project: write_in_place(project.path / path, b"damaged")


def cached(path: str) -> Damage:
    """Damages the copy in the cache, which stays read-only. DVC restores it."""

    def damage(project: Project) -> None:
        write_in_place(copy_in_cache(project, path), b"damaged")
        (project.path / path).unlink()
        project.run("dvc", "checkout")

    return damage


def listed_no_file(project: Project) -> None:
    """Damages the list of a folder's files, without which DVC restores none of them."""
    write_in_place(copy_in_cache(project, "data/models/cnn"), b"[]")
    (project.path / MODEL).unlink()
    assert project.repro("train@cnn").restored == {"train@cnn"}
    assert not (project.path / MODEL).exists()


def committed(damage: Damage) -> Damage:
    return lambda project: (damage(project), project.run("dvc", "commit", "--force"))


def gone_elsewhere(project: Project) -> None:
    workspace(ARCHIVE)(project)
    (project.path / "data/own/digits.npz").unlink()


DAMAGED = {
    "the workspace": ("evaluate", workspace(MODEL)),
    "the cache, behind an undamaged dvc.lock": ("evaluate", cached(MODEL)),
    "a folder's list in the cache": ("evaluate", listed_no_file),
    "what dvc commit recorded": ("evaluate", committed(workspace(MODEL))),
    "the data set in the cache": ("preprocess", cached(ARCHIVE)),
    "the data set, which is gone elsewhere": ("preprocess", gone_elsewhere),
    "the description of the data set": ("preprocess", workspace("data/raw/mnist.json")),
    "predictions, recorded": ("report", committed(workspace(PREDICTIONS))),
}


def read(project: Project, reader: str) -> str:
    """Runs the stage that reads the file; returns the line of its error, or nothing."""
    done = project.run("python", "-m", f"stages.{reader}", *STAGES[reader].split(), check=False)
    assert "Traceback" not in done.stderr
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def follow(project: Project, line: str) -> None:
    """Runs the commands at the end of a message."""
    (line,) = line.splitlines()
    for command in re.search(r"(?:with|run): (.*)", line)[1].split(" && "):
        words = shlex.split(command)
        done = project.run(*(["env"] if "=" in words[0] else []), *words, check=False)
        assert done.returncode == 0, f"{line}\n{words}\n{done.stdout}\n{done.stderr}"


def digests_of(project: Project) -> dict[str, dict[str, str]]:
    return {stage: digests(entry, "outs") for stage, entry in lock(project).items()}


def damaged_copies(project: Project) -> list[Path]:
    files = (path for path in (project.path / CACHE).glob("*/*") if path.is_file())
    return [path for path in files if _md5(path) != f"{path.parent.name}{path.name}".removesuffix(".dir")]


@pytest.mark.parametrize(("reader", "damage"), DAMAGED.values(), ids=DAMAGED)
def test_it_makes_what_is_damaged_anew(project: Project, reader: str, damage: Damage) -> None:
    before, recorded = outputs(project), digests_of(project)
    damage(project)
    follow(project, read(project, reader))
    assert read(project, reader) == ""
    project.repro()
    assert outputs(project) == before
    assert digests_of(project) == recorded
    assert damaged_copies(project) == []


def test_it_makes_anew_what_the_overview_leaves_out(project: Project) -> None:
    before = outputs(project)
    workspace(PREDICTIONS)(project)
    line = project.run("python", "-m", "tools.overview").stderr
    assert line.startswith(f"not in the overview: cnn: {PREDICTIONS} in workspace: not valid JSON")
    follow(project, line)
    assert project.run("python", "-m", "tools.overview").stderr == ""
    assert outputs(project) == before


def test_a_model_from_before_an_edit_is_not_lost(project: Project) -> None:
    before, model = project.params.read_bytes(), copy_in_cache(project, MODEL)
    project.edit(lambda params: params["architectures"]["cnn"]["layers"].insert(1, {"Dropout": {"rate": 0.5}}))
    follow(project, read(project, "evaluate"))
    assert read(project, "evaluate") == ""
    project.params.write_bytes(before)
    assert "train@cnn" in project.repro("train@cnn").restored
    assert model.exists()


def test_a_clone_that_has_links_gets_copies(project: Project) -> None:
    before = outputs(project)
    project.run("dvc", "config", "--local", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    assert (project.path / MODEL).stat().st_nlink > 1
    (command,) = re.findall(r"`(dvc checkout .*?)`", (ROOT / "docs/pipeline.md").read_text())
    project.run(*command.split())
    for path in (MODEL, IMAGES, ARCHIVE):
        assert (project.path / path).stat().st_nlink == 1
        write_in_place(project.path / path, b"damaged")
    assert damaged_copies(project) == []
    project.repro()
    assert outputs(project) == before


def test_data_that_replace_offline_digits(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "mnist.npz"
    first = {"dataset": "MNIST", "places": [str(place)], "sha256": tiny_archive().sha256()}
    project.edit(lambda params: params["preprocess"].update(pixel_max=255))
    project.edit(lambda params: params["data"].update(sources=[first, {"dataset": "digits", "places": [EMBEDDED]}]))
    for folder in ("data/raw", "data/prepared", "data/models", ".dvc/cache"):
        shutil.rmtree(project.path / folder)
    notice = project.run("dvc", "repro", "preprocess").stderr
    write_archive(place, tiny_archive())
    commands = re.search(r"run:  (.*)  and then  dvc repro$", notice, re.MULTILINE)
    for command in (commands[1], "dvc repro preprocess"):  # without training
        project.run(*command.split())
    assert {json.loads(path.read_text())["dataset"] for path in project.path.glob("data/*/**/*.json")} == {"MNIST"}
