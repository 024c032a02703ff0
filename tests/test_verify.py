"""`make verify`: finds the bytes that differ, and catches a stage that does not write the same twice."""

import io
import re
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from stages.support.params import load_params
from tools.common.surroundings import QEMU
from tools.verify.differences import difference
from tools.verify.small import make_small

from .conftest import TUTORIALS, Project


def archive(last: int, year: int = 1980) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for member, content in (("same", bytes(3)), ("weights", bytes([0, last]))):
            file.writestr(zipfile.ZipInfo(member, (year, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


TEXT = '{\n  "dataset": "Zürich",\n  "accuracy": 0.98\n}\n'
MANY = "2,000 and 2,000 bytes, 20 different, the first at offset 1,000"
LINES = ["47 and 47 bytes, 1 different, the first at offset 43, line 3"]
LINES += [f"run 1   38 0a 7d 0a{'8.}.':>42}", f"run 10  37 0a 7d 0a{'7.}.':>42}"]
BYTES = [f"run 1   {bytes(16).hex(' ')}  {16 * '.'}", f"run 10  {bytes(range(65, 81)).hex(' ')}  ABCDEFGHIJKLMNOP"]
OF_WEIGHTS = ["in weights, of which the first", "2 and 2 bytes, 1 different, the first at offset 1"]
CONTAINER = ["every member is the same; the zip container (dates, attributes) differs"]
CONTAINER += ["201 and 201 bytes, 4 different, the first at offset 13"]
DIFFERENCES: dict[str, tuple[bytes | None, bytes | None, list[str]]] = {
    "the same": (b"the same", b"the same", []),
    "a text": (TEXT.encode(), TEXT.replace("8", "7").encode(), LINES),
    "many bytes": (bytes(2000), bytes(1000) + bytes(range(65, 85)) + bytes(980), [MANY, *BYTES]),
    "missing": (None, b"", ["in run 10, not in run 1"]),
    "a member": (archive(1), archive(2), [*OF_WEIGHTS, f"run 1   01{'.':>48}", f"run 10  02{'.':>48}"]),
    "the container": (archive(1), archive(1, year=1981), CONTAINER),
}


@pytest.mark.parametrize(("one", "other", "expected"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_difference_is_described(tmp_path: Path, one: bytes | None, other: bytes | None, expected: list[str]) -> None:
    sides = tmp_path / "one", tmp_path / "other"
    for side, content in zip(sides, (one, other), strict=True):
        if content is not None:
            side.write_bytes(content)
    lines = difference(*sides, ("run 1", "run 10"))
    assert (lines[:2] if expected == CONTAINER else lines) == expected


@pytest.fixture
def project(project, tmp_path, monkeypatch) -> Project:
    """The tiny project, with a home and a folder for temporary files that are empty."""
    for variable in ("HOME", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return project


def test_the_tiny_project_is_verified_and_left_alone(project, tmp_path, monkeypatch) -> None:
    (tmp_path / "bin").mkdir()
    for command in ("git", "sh", "bash", "env", "dirname"):
        (tmp_path / "bin" / command).symlink_to(shutil.which(command))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # without qemu
    before = project.run("git", "status", "--porcelain", "--ignored").stdout
    done = project.run("python", "-m", "tools.verify", "fetch")
    *lines, left_out = done.stdout.splitlines()
    assert [line.split(":")[0].split(",")[0] for line in lines] == ["run 1", "run 2", "run 3", "verified"]
    assert lines[-1].endswith(": same bytes")
    assert left_out.startswith("left out: other processors; no qemu-x86_64 found")
    assert done.stderr == ""
    assert project.run("git", "status", "--porcelain", "--ignored").stdout == before
    assert list((tmp_path / "HOME").iterdir()) == list((tmp_path / "TMPDIR").iterdir()) == []


# Each in a file of its own, so that the run that shows it is known; caches: bytes of L1, L2 and L3
PLANTED = """
    import os, time
    caches = [os.sysconf(cache) for cache in (188, 191, 194)]
    for name, value in {"time": time.time_ns(), "zone": os.environ.get("TZ", ""), "caches": caches}.items():
        arguments.archive.with_name(name).write_text(str(value))
    height, width, channels ="""


def test_a_time_a_time_zone_and_a_processor_in_what_a_stage_writes_are_caught(project) -> None:
    path = project.path / "stages/fetch.py"
    path.write_text(path.read_text().replace("\n    height, width, channels =", PLANTED))
    of_amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    emulated = ["Haswell" if of_amd else "EPYC-Rome"] if shutil.which(QEMU) else []  # of another maker
    processors = [argument for name in emulated for argument in ("--processor", name)]
    done = project.run("python", "-m", "tools.verify", "fetch", *processors, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reruns do not give the same bytes")
    assert "Pacific/Chatham" in done.stdout
    runs = re.split(r"^(run \d).*\n", done.stdout, flags=re.MULTILINE)  # differences stand above the line of their run
    differing = {
        name: sorted(re.findall(r"^data/raw/(\w+): ", listed, re.MULTILINE)) for listed, name in pairwise(runs)
    }
    assert (differing["run 2"], differing["run 3"]) == (["time"], ["time", "zone"])
    others = [differing[f"run {number}"] for number, _ in enumerate(emulated, start=4)]
    assert others in ([], [["caches", "time"]])


@pytest.mark.parametrize(
    ("targets", "architectures"),
    [((), ["cnn_1x28x28", "mixed", "mlp_1000_dropout"]), (("train@mlp_256",), ["mixed", "mlp_256"])],
)
def test_a_small_configuration_has_one_seed_and_few_architectures_and_the_rest_as_it_is(
    tmp_path: Path, targets: tuple[str, ...], architectures: list[str]
) -> None:
    path = Path(shutil.copy(TUTORIALS, tmp_path / "params.yaml"))
    before = load_params(path)
    make_small(tmp_path, targets)
    small = load_params(path)
    assert small.train.seeds == [10]
    assert sorted(small.architectures) == architectures
    assert {architecture.fit.epochs for architecture in small.architectures.values()} == {1}
    assert (small.overview, small.preprocess) == (before.overview, before.preprocess)
