"""What messages say to do leads out: the damage is real, and the commands that are printed are run."""

import json
import re
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.archive import write_archive
from stages.data.places import EMBEDDED
from stages.support.dvc_cache import _md5
from tools.common.lock import digests

from .conftest import ROOT, Project, tiny_archive
from .faults import lock, outputs

MODEL, PREDICTIONS = "data/models/cnn/10.keras", "metrics/predictions/cnn.json"
ARCHIVE, IMAGES = "data/raw/mnist.npz", "data/prepared/train/images.npy"
CACHE = ".dvc/cache/files/md5"
READERS = {
    "preprocess": "stages.preprocess data/raw/mnist.npz data/raw/mnist.json new/prepared new/samples.png",
    "train": "stages.train cnn data/prepared/train new",
    "evaluate": "stages.evaluate cnn data/prepared/test data/models/cnn new/predictions.json new/metrics.json",
    "report": "stages.report cnn data/prepared/test metrics/predictions/cnn.json new",
}
Damage = Callable[[Project], None]
Content = bytes | Callable[[Project], bytes]


def write_in_place(path: Path, content: bytes) -> None:
    """Overwrites a file as root or an editor does that ignores its mode, and leaves the mode as it was."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | stat.S_IWUSR)
    path.write_bytes(content)
    path.chmod(mode)


def copy_in_cache(project: Project, path: str) -> Path:
    """The copy in DVC's cache of an output, or of a file in a folder that is an output."""
    recorded = {out: md5 for entry in lock(project).values() for out, md5 in digests(entry, "outs").items()}
    if path not in recorded:
        folder, _, name = path.rpartition("/")
        listing = json.loads(copy_in_cache(project, folder).read_bytes())
        recorded = {path: next(file["md5"] for file in listing if file["relpath"] == name)}
    return project.path / CACHE / recorded[path][:2] / recorded[path][2:]


def other_model(project: Project) -> bytes:
    return (project.path / MODEL.replace("cnn", "mlp_256")).read_bytes()


def workspace(path: str, content: Content = b"damaged") -> Damage:
    return lambda project: write_in_place(project.path / path, content(project) if callable(content) else content)


def cached(path: str, content: Content = b"damaged") -> Damage:
    """Damages the copy in the cache, which stays read-only. DVC restores it."""

    def damage(project: Project) -> None:
        write_in_place(copy_in_cache(project, path), content(project) if callable(content) else content)
        (project.path / path).unlink()
        project.run("dvc", "checkout")

    return damage


def linked(project: Project) -> None:
    """Writes through a link into the cache, in a clone from before the cache was copied from. DVC restores nothing."""
    project.run("dvc", "config", "--local", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    write_in_place(project.path / MODEL, b"damaged")
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    assert project.repro().restored == {"train@cnn"}
    assert (project.path / MODEL).read_bytes() == b"damaged"


def emptied(project: Project) -> None:
    """`dvc artifacts get` over a file that it linked to the cache before empties the copy there."""
    project.run("git", "tag", "-a", "mlp-256@v1.0.0", "-m", "v1.0.0")
    project.run("dvc", "config", "--local", "cache.type", "reflink,hardlink,copy")
    for _ in range(2):
        project.run("dvc", "artifacts", "get", ".", "mlp-256", "--rev", "v1.0.0", "--out", "got.keras", "--force")
    assert copy_in_cache(project, "data/models/mlp_256/10.keras").stat().st_size == 0
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    (project.path / "data/models/mlp_256/10.keras").unlink()
    project.run("dvc", "checkout")


def listed(content: bytes) -> Damage:
    """Damages the list of a folder's files, without which DVC restores none of them."""

    def damage(project: Project) -> None:
        write_in_place(copy_in_cache(project, "data/models/cnn"), content)
        (project.path / MODEL).unlink()
        if content == b"[]":
            assert project.repro("train@cnn").restored == {"train@cnn"}
            assert not (project.path / MODEL).exists()

    return damage


def then(*damages: Damage) -> Damage:
    return lambda project: [damage(project) for damage in damages] and None


def committed(project: Project) -> None:
    project.run("dvc", "commit", "--force")


def gone_elsewhere(project: Project) -> None:
    (project.path / "data/own/digits.npz").unlink()


DAMAGED = {
    "the workspace": ("evaluate", workspace(MODEL)),
    "the cache, behind an undamaged dvc.lock": ("evaluate", cached(MODEL)),
    "the cache, and the workspace otherwise": ("evaluate", then(cached(MODEL), workspace(MODEL, b""))),
    "a hard link into the cache": ("evaluate", linked),
    "a copy in the cache that dvc artifacts get emptied": ("evaluate mlp_256", emptied),
    "a folder's list in the cache": ("evaluate", listed(b"damaged")),
    "a folder's list in the cache, with no file": ("evaluate", listed(b"[]")),
    "what dvc commit recorded": ("evaluate", then(workspace(MODEL), committed)),
    "another model in the cache": ("evaluate", cached(MODEL, other_model)),
    "another model, recorded": ("evaluate", then(workspace(MODEL, other_model), committed)),
    "prepared images in the cache": ("train", cached(IMAGES)),
    "the data set in the cache": ("preprocess", cached(ARCHIVE)),
    "the data set, which is gone elsewhere": ("preprocess", then(workspace(ARCHIVE), gone_elsewhere)),
    "the description of the data set": ("preprocess", workspace("data/raw/mnist.json")),
    "predictions, recorded": ("report", then(workspace(PREDICTIONS), committed)),
}


def run(project: Project, command: str) -> str:
    """Runs a module; returns the line of its error, or nothing."""
    done = project.run("python", "-m", *command.split(), check=False)
    assert "Traceback" not in done.stderr
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def read(project: Project, reader: str) -> str:
    """Runs what reads the file; returns the line of its error, or nothing."""
    stage, _, name = reader.partition(" ")
    return run(project, READERS[stage].replace("cnn", name or "cnn"))


def advised(line: str) -> list[list[str]]:
    """The commands at the end of a message."""
    (line,) = line.splitlines()
    commands = re.search(r"(?:with|run): (.*)", line)[1]
    return [shlex.split(command) for command in commands.split(" && ")]


def follow(project: Project, line: str) -> None:
    for words in advised(line):
        if words[0] == "make":  # without installing an environment
            shutil.copy(ROOT / "Makefile", project.path)
            words[1:1] = ["-o", ".venv/installed"]
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
    assert "train@cnn" in project.repro().restored
    assert model.exists()


def test_a_clone_that_has_links_gets_copies(project: Project) -> None:
    before = outputs(project)
    project.run("dvc", "config", "--local", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    (command,) = re.findall(r"`(dvc checkout .*?)`", (ROOT / "docs/pipeline.md").read_text())
    project.run(*command.split())
    for path in (MODEL, IMAGES, ARCHIVE):
        assert (project.path / path).stat().st_nlink == 1
        write_in_place(project.path / path, b"damaged")
    assert damaged_copies(project) == []
    project.repro()
    assert outputs(project) == before


def append(path: str) -> Damage:
    return lambda project: write_in_place(project.path / path, (project.path / path).read_bytes() + b"\n")


def nothing_evaluated(project: Project) -> None:
    for path in project.path.glob("metrics/predictions/*.json"):
        path.unlink()


COMMANDS = {  # that a message ends with: what is wrong, and what prints the message
    "make overview": (append("plots/comparison.csv"), "tools.overview --check"),
    "make schema": (append("stages/params.schema.json"), "tools.schema --check"),
    "python -m tools.plots.page": (append(".dvc/plots.html"), "tools.plots.page --check"),
    "make clean-results YES=1": (lambda project: (project.path / "metrics/old.json").touch(), "tools.clean"),
    "make repro": (nothing_evaluated, "tools.digits classify digit.png"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_the_message_says(project: Project, command: str) -> None:
    damage, reader = COMMANDS[command]
    Image.fromarray(np.pad(tiny_archive().x_test[0], 8)).save(project.path / "digit.png")
    damage(project)
    line = run(project, reader)
    assert line.endswith(f"run: {command}\n")
    follow(project, line)
    assert run(project, reader) == ""


def test_data_that_replace_offline_digits(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "mnist.npz"
    first = {"dataset": "MNIST", "places": [str(place)], "sha256": tiny_archive().sha256()}
    project.edit(lambda params: params["preprocess"].update(pixel_max=255))
    project.edit(lambda params: params["data"].update(sources=[first, {"dataset": "digits", "places": [EMBEDDED]}]))
    for path in (ARCHIVE, "data/raw/mnist.json"):
        (project.path / path).unlink()
    for folder in ("data/prepared", "data/models", ".dvc/cache"):
        shutil.rmtree(project.path / folder)
    notice = project.run("dvc", "repro", "preprocess").stderr
    write_archive(place, tiny_archive())
    commands = re.search(r"run:  (.*)  and then  (.*)", notice)
    assert commands[2] == "dvc repro"
    for command in (commands[1], f"{commands[2]} preprocess"):  # without training
        project.run(*command.split())
    assert {json.loads(path.read_text())["dataset"] for path in project.path.glob("data/*/**/*.json")} == {"MNIST"}


def test_what_make_reproduce_left_is_deleted(project: Project) -> None:
    append("plots/samples.png")(project)
    path = project.path / "review/reproduced.json"
    path.parent.mkdir()
    path.write_text("{")
    line = run(project, "tools.review HEAD")
    assert line.startswith("error: review/reproduced.json: ")
    assert line.endswith("; delete it\n")
    path.unlink()
    assert run(project, "tools.review HEAD") == ""


ELSEWHERE = {  # commands in messages that are run by another test, or by none
    "dvc cache dir --local FOLDER": "test_teams.py",
    "dvc repro --force fetch": "test_own_data.py",
    "git fetch --unshallow": "test_review_limits.py",
    "git restore {}": "test_environment.py",
    "make .venv/installed-cluster": "none: it installs Ray",
    "make review BASE=HEAD": "test_review.py",
    "make lock": "test_environment.py",
    "make preview": "none: it installs vl_convert",
    "ray start --address=HOST:PORT": "none: it needs another machine",
    "ulimit -v unlimited": "test_damaged.py",
}


def test_each_command_in_a_message_is_run_by_a_test() -> None:
    here = {"dvc repro {}", "dvc repro --force fetch  and then  dvc repro", *COMMANDS}
    sources = [path.read_text() for folder in ("stages", "tools") for path in (ROOT / folder).rglob("*.py")]
    programs = r"\b(?:run|with|by): +((?:dvc|git|make|python|ray|rm|ulimit) [^;,(\"\n]*[^;,(\"\n ])"
    found = {re.sub(r"{.*?}", "{}", command) for source in sources for command in re.findall(programs, source)}
    assert found == here | set(ELSEWHERE)
