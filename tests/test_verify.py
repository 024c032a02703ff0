"""`make verify`: finds the bytes that differ, and catches a stage that does not write the same twice."""

import io
import os
import re
import shutil
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.support.params import load_params
from tools.common.results import OVERVIEW
from tools.common.surroundings import QEMU, Run, another_user, copy_project
from tools.verify import __main__ as verifying
from tools.verify.__main__ import compare
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
END = "3 and 4 bytes, 1 different, the first at offset 3, line 2"
OF_WEIGHTS = ["in weights, of which the first", "2 and 2 bytes, 1 different, the first at offset 1"]
CONTAINER = ["every member is the same; the zip container (dates, attributes) differs"]
CONTAINER += ["201 and 201 bytes, 4 different, the first at offset 13"]
DIFFERENCES: dict[str, tuple[bytes | None, bytes | None, list[str]]] = {
    "the same": (b"the same", b"the same", []),
    "a text": (TEXT.encode(), TEXT.replace("8", "7").encode(), LINES),
    "many bytes": (bytes(2000), bytes(1000) + bytes(range(65, 85)) + bytes(980), [MANY, *BYTES]),
    "the end": (b"a\nb", b"a\nbc", [END, "run 1   (its end)", f"run 10  63{'c':>48}"]),
    "an archive and no archive": (archive(1), b"PK", ["201 and 2 bytes, 199 different, the first at offset 2"]),
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
    assert lines[: len(expected)] == expected
    assert bool(lines) == bool(expected)


def test_every_file_of_either_run_is_compared_causes_before_effects(tmp_path: Path, capsys) -> None:
    names = ("params.yaml", "data/raw/a.npz", "data/models/cnn/10.keras", "metrics/cnn.json", "plots/a.png", "dvc.lock")
    kept, run = tmp_path / "kept", Run("run 2", tmp_path / "project", tmp_path)
    for folder in kept, run.project:
        for moment, name in enumerate((*names, ".dvc/tmp/x", ".git/x", f"plots/only in {folder.name}")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("same")
            os.utime(folder / name, (moment, moment))
    for name in names:
        (run.project / name).write_text("other")
    (run.project / ".dvc/tmp/x").write_text("other")
    assert compare(run, kept, "again") == len(names) + 2
    printed = capsys.readouterr().out
    others = ["plots/only in kept", "plots/only in project", "run 2, again"]
    assert re.findall(r"^(\w[^:\n]*): ", printed, re.MULTILINE) == [*names, *others]
    assert printed.endswith("run 2, again: 8 files differ\n")
    assert compare(run, run.project, "again") == 0
    assert capsys.readouterr().out == "run 2, again: same bytes\n"


@pytest.mark.parametrize(("targets", "full"), [([], True), (["train@cnn"], False)])
def test_what_each_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: list[str], full: bool) -> None:
    done: dict[str, list[str]] = {}

    def start(run: Run, _: object, *commands: list[str]) -> Run:
        assert not (run.project / OVERVIEW).exists(), "it is drawn again"
        (run.project / OVERVIEW).parent.mkdir(parents=True, exist_ok=True)
        (run.project / OVERVIEW).write_text("same")
        done[run.name] = [" ".join(words[-4 - len(targets) :]) for words in commands if "font" not in words[-1]]
        return run

    monkeypatch.setattr(verifying, "start", start)
    monkeypatch.setattr(verifying, "copy_project", lambda to: to.mkdir())
    monkeypatch.setattr(verifying, "make_small", lambda _, named: done.update(small=named))
    summary = verifying.verify(tmp_path, full, targets=targets, processors=["Haswell"])
    assert summary == "verified: 4 runs, 1 outputs, 0.0 MB: same bytes"
    named, overview = " ".join(["", *targets]), [] if targets else ["python -m tools.overview"]
    assert done.pop("small", None) == (None if full else targets)
    assert done == {
        "run 1": [f"dvc repro{named}", *overview],
        "run 2": [f"dvc repro --force{named}", *overview],
        "run 3": [f"-m tools.repro --jobs 4{named}"],
        "run 4": [f"dvc repro --force{named or ' report@mixed'}"],
    }


def test_processors_are_emulated_for_portable_kernels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying.shutil, "which", lambda _: QEMU)
    monkeypatch.setattr(verifying, "why_not_portable", {"portable": "", "native": "why"}.get)
    portable, native = (SimpleNamespace(train=SimpleNamespace(kernels=kernels)) for kernels in ("portable", "native"))
    assert verifying.why_not_emulated(False, portable) == ""
    assert verifying.why_not_emulated(False, native) == "why, so other processors give other bytes"
    assert verifying.why_not_emulated(True, portable).startswith("with --full, ")


def test_another_user_is_another_in_all_that_a_run_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_GLOBAL_CONFIG_DIR", "GIT_DIR", "KERAS_BACKEND", "MPLBACKEND", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, f"of the caller: {name}")
    code = "import os, sys; print(*(text for text in os.environ.values() if 'of the caller' in text), end='')\n"
    code += "print(oct(os.umask(0)), *(os.environ[name] for name in sys.argv[1:]), os.getcwd())"
    names = ("HOME", "LC_ALL", "TZ", "PYTHONHASHSEED", "COLUMNS", "XDG_CONFIG_HOME")
    cores = "print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1)"
    shown = another_user("run 3", tmp_path).execute([sys.executable, "-c", f"{code}; {cores}", *names])
    home = f"{tmp_path}/home of another user"
    values = f"{home} C Pacific/Chatham 4242 45 {home}/.config {tmp_path}/a clone"
    assert shown == f"0o77 {values}\n1\n"


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
    done = project.ordinary.run("python", "-m", "tools.verify", "fetch")
    *lines, left_out = done.stdout.splitlines()
    assert [line.split(":")[0].split(",")[0] for line in lines] == ["run 1", "run 2", "run 3", "verified"]
    assert lines[-1].endswith(": same bytes")
    assert left_out.startswith("left out: other processors; no qemu-x86_64 found")
    assert done.stderr == ""
    assert project.run("git", "status", "--porcelain", "--ignored").stdout == before
    assert list((tmp_path / "HOME").iterdir()) == list((tmp_path / "TMPDIR").iterdir()) == []


def test_a_copy_has_local_edits_and_ones_own_data_and_no_results(project, tmp_path, monkeypatch) -> None:
    project.edit(lambda params: params["preprocess"].update(pixel_max=255))
    (project.path / "stages/new.py").write_text("new")
    (project.path / "data/own/more.npz").write_text("ignored by git")
    (project.path / "stages/report.py").unlink()
    monkeypatch.chdir(project.path)
    copy_project(tmp_path / "copy")
    copy = tmp_path / "copy"
    assert (copy / "params.yaml").read_text() == project.params.read_text()
    assert (copy / "stages/new.py").read_text() == "new"
    assert not (copy / "stages/report.py").exists()
    assert {path.name for path in (copy / "data/own").iterdir()} == {"README.md", "digits.npz", "more.npz"}
    left = {path.relative_to(copy).parts[0] for path in copy.rglob("*") if path.is_file()}
    settings = {".dvc", ".dvcignore", ".gitattributes", ".gitignore"}
    assert left == settings | {"data", "dvc.yaml", "params.yaml", "stages", "tools"}
    assert not [path for path in copy.glob("data/*/*") if path.is_file() and "own" not in path.parts]
    assert (project.path / "metrics/cnn.json").exists()


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
    differing = {name: sorted(re.findall(r"^data/raw/(\w+): ", text, re.MULTILINE)) for text, name in pairwise(runs)}
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
