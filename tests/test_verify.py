"""`make verify`: finds the bytes that differ, and catches a stage that does not write the same twice."""

import re
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.support.architecture import Architecture
from stages.support.params import load_params
from tools.common.surroundings import QEMU
from tools.verify.__main__ import emulated_stages
from tools.verify.differences import difference
from tools.verify.small import make_small, mixed

from .conftest import TUTORIALS, Project

NAMES = ("run 1", "run 2")


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "one", tmp_path / "other"


def test_the_same_bytes_are_no_difference(sides) -> None:
    for content in (b"", b"the same"):
        for side in sides:
            side.write_bytes(content)
        assert difference(*sides, NAMES) == []


def test_a_text_is_told_by_line(sides) -> None:
    for side, accuracy in zip(sides, ("0.98", "0.97"), strict=True):
        side.write_text('{\n  "dataset": "Zürich",\n  "accuracy": ' + accuracy + "\n}\n")
    assert difference(*sides, NAMES) == [
        "47 and 47 bytes, 1 different, the first at offset 43, line 3",
        f"run 1  {'38 0a 7d 0a':47}  8.}}.",
        f"run 2  {'37 0a 7d 0a':47}  7.}}.",
    ]


def test_a_file_that_ends_early_is_told(sides) -> None:
    sides[0].write_bytes(b"\x89PNG\0")
    sides[1].write_bytes(b"\x89PNG\0\xff\0")
    told = difference(*sides, NAMES)
    assert told[0] == "5 and 7 bytes, 2 different, the first at offset 5"
    assert told[1:] == ["run 1  (its end)", f"run 2  {'ff 00':47}  .."]


def test_a_missing_file_is_told(sides) -> None:
    sides[1].touch()
    assert difference(*sides, NAMES) == ["in run 2, not in run 1"]
    sides[1].rename(sides[0])
    assert difference(*sides, NAMES) == ["in run 1, not in run 2"]


def test_an_archive_is_told_by_member(sides) -> None:
    for side, last in zip(sides, (1, 2), strict=True):
        with side.open("wb") as stream:
            np.savez(stream, same=np.zeros(3), weights=np.array([0, last], np.uint8))
    assert difference(*sides, NAMES)[:2] == [
        "in its member weights.npy",
        "130 and 130 bytes, 1 different, the first at offset 129",
    ]


def test_an_archive_whose_members_are_the_same_is_told_by_its_container(sides) -> None:
    for side, year in zip(sides, (1980, 1981), strict=True):
        with zipfile.ZipFile(side, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a", (year, 1, 1, 0, 0, 0)), "the same")
    assert difference(*sides, NAMES)[0] == "every member is the same; the zip container (dates, attributes) differs"


@pytest.fixture
def project(project, tmp_path, monkeypatch) -> Project:
    """The tiny project, with a home and a folder for temporary files that are empty."""
    project.edit(lambda params: params["preprocess"].update(pixel_max=255))
    for variable in ("HOME", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return project


def plant(project: Project, code: str) -> None:
    """Lets preprocess end with `code`."""
    path = project.path / "stages/preprocess.py"
    path.write_text(path.read_text().replace("\n    titles =", f"\n    {code}\n    titles ="))


def test_the_tiny_project_is_verified_and_left_alone(project, tmp_path, monkeypatch) -> None:
    (tmp_path / "bin").mkdir()
    for command in ("git", "sh", "bash", "env", "dirname"):
        (tmp_path / "bin" / command).symlink_to(shutil.which(command))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # without qemu
    before = project.run("git", "status", "--porcelain", "--ignored").stdout
    done = project.run("python", "-m", "tools.verify", "preprocess")
    *told, left_out = done.stdout.splitlines()
    assert [line.split(":")[0].split(",")[0] for line in told] == ["run 1", "run 2", "run 3", "verified"]
    assert told[-1].endswith(": same bytes")
    assert left_out.startswith("left out: other processors; no qemu-x86_64 found")
    assert done.stderr == ""
    assert project.run("git", "status", "--porcelain", "--ignored").stdout == before
    assert list((tmp_path / "HOME").iterdir()) == list((tmp_path / "TMPDIR").iterdir()) == []


def test_a_time_a_time_zone_and_a_processor_in_outputs_are_caught(project) -> None:
    """Each in a file of its own, so that the run that tells of it is known."""
    caches = "[os.sysconf(cache) for cache in (188, 191, 194)]"  # bytes of L1, L2, L3, which Python has no names for
    plant(
        project,
        f"""import os, time
    test = arguments.folder / "test"
    dataset.__class__(**vars(dataset) | {{"dataset": str(time.time_ns())}}).write(test)
    for path, found in ((test, os.environ.get("TZ", "")), (arguments.folder / "train", str({caches}))):
        with (path / "labels.npy").open("a") as stream:
            stream.write(found)
""",
    )
    of_amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    emulated = ["Haswell" if of_amd else "EPYC-Rome"] if shutil.which(QEMU) else []  # of another maker
    processors = [argument for name in emulated for argument in ("--processor", name)]
    done = project.run("python", "-m", "tools.verify", "preprocess", *processors, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reruns do not give the same bytes")
    runs = re.split(r"^(run \d).*\n", done.stdout, flags=re.MULTILINE)  # differences stand above the line of their run
    differing = {
        name: sorted(re.findall(r"^data/prepared/([\w/]+)\.", told, re.MULTILINE)) for told, name in pairwise(runs)
    }
    assert differing["run 2"] == ["test/dataset"]
    assert differing["run 3"] == ["test/dataset", "test/labels"]
    assert "Pacific/Chatham" in done.stdout
    others = [differing[f"run {number}"] for number, _ in enumerate(emulated, start=4)]
    assert others in ([], [["test/dataset", "train/labels"]])


def objects(architecture: Architecture) -> set[tuple[str, str]]:
    return {(each.kind, each.name) for _, each in architecture.objects()}


def test_emulated_processors_run_what_the_recipes_here_are_made_of() -> None:
    mixture = objects(Architecture.model_validate(mixed()))
    seen_elsewhere = {("layer", "Reshape"), ("optimizer", "Adam")}  # moves nothing; AdamW is Adam and a decay
    for architecture in load_params(TUTORIALS).architectures.values():
        assert objects(architecture) - mixture <= seen_elsewhere


@pytest.mark.parametrize(
    ("targets", "architectures"),
    [((), ["cnn_1x28x28", "mixed", "mlp_1000_dropout"]), (("train@mlp_256",), ["mixed", "mlp_256"])],
)
def test_a_small_configuration_has_one_seed_and_few_architectures(
    tmp_path: Path, targets: tuple[str, ...], architectures: list[str]
) -> None:
    shutil.copy(TUTORIALS, tmp_path / "params.yaml")
    make_small(tmp_path, targets)
    small = load_params(tmp_path / "params.yaml")
    assert small.train.seeds == [10]
    assert sorted(small.architectures) == architectures


def test_a_small_configuration_leaves_the_rest_as_it_is(project: Project) -> None:
    def change(params: dict) -> None:
        params["overview"]["published"] = {"dataset": "1e-5", "accuracy": {"2020-01-01": 1e-5, "007": 0}}
        params["architectures"]["mlp_256"]["fit"]["class_weight"] = {8: 1e-5, 9: 10**30}

    project.edit(change)
    before = load_params(project.params)
    make_small(project.path, ["train@mlp_256"])
    small = load_params(project.params)
    assert small.overview == before.overview
    assert small.architectures["mlp_256"].fit.class_weight == {8: 1e-5, 9: 1e30}


def test_emulated_processors_run_one_architecture(tmp_path: Path) -> None:
    stages = ("fetch", "train@cnn", "train@mixed", "report@mixed")
    content = {"schema": "2.0", "stages": {name: {"cmd": name} for name in stages}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(content, sort_keys=False))
    found = [stage["cmd"] for stage in emulated_stages(tmp_path, [])]
    assert found == ["fetch", "train@mixed", "report@mixed"]


def test_params_that_git_does_not_have_are_named_without_the_folder_of_the_copy(project, tmp_path) -> None:
    with (project.path / ".gitignore").open("a") as ignored:
        ignored.write("params.yaml\n")
    project.run("git", "rm", "-q", "--cached", "params.yaml")
    done = project.run("python", "-m", "tools.verify", "preprocess", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the copy/sources/params.yaml: cannot read: No such file or directory")
    assert str(tmp_path) not in done.stderr


def test_a_stage_that_fails_is_shown(project, tmp_path) -> None:
    plant(project, "raise SystemExit('error: planted')")
    done = project.run("python", "-m", "tools.verify", "preprocess", check=False)
    assert done.returncode == 1
    assert "error: planted" in done.stderr
    assert "error: run 1: dvc repro preprocess: failed with exit status" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "TMPDIR").iterdir()) == []
