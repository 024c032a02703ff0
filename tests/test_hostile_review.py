"""`make review` of a stranger's branch: reads git objects alone, within limits, and compares what can be read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from tools.common import revision
from tools.common.git import git
from tools.common.predictions import architectures_of
from tools.common.revision import WORKSPACE, Revision
from tools.review.stages import stale

from .conftest import Project
from .test_yaml import BOMB

# What Python imports at its start if it is on the path: ends the process that would touch the network, or run anything
# but git, and lists the files that it writes
WATCH = """\
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") or (
        event == "subprocess.Popen" and os.path.basename(os.fsdecode(arguments[0])) != "git"
    ):
        os.write(2, f"FORBIDDEN: {event} {arguments}\\n".encode())
        os._exit(99)
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        with_log.append(arguments[0])
with_log = []
sys.addaudithook(watch)
import atexit
atexit.register(lambda: print("WRITTEN:", *with_log, file=sys.stderr))
"""


def review(project: Project, *arguments: str) -> str:
    """Runs the command, which may write into the project only, and run git alone; returns what it printed."""
    (guard := project.path.parent / "guard").mkdir()
    (guard / "sitecustomize.py").write_text(WATCH)
    guarded = {"PYTHONPATH": str(guard), "GIT_ALLOW_PROTOCOL": "none", "PYTHONDONTWRITEBYTECODE": "1"}
    command, environment = [sys.executable, "-m", "tools.review", *arguments], project.environment | guarded
    done = subprocess.run(command, cwd=project.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = [line for line in done.stderr.splitlines() if line.startswith("WRITTEN:")]
    outside = [name for name in written.split()[1:] if name.startswith("/") and name != os.devnull]
    assert not [name for name in outside if not Path(name).is_relative_to(project.path)]
    return done.stdout


def write(path: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.path / path).write_text(text)


def edit(path: str, **changed: object) -> Callable[[Project], object]:
    return lambda project: project.edit_json(path, lambda content: content.update(changed))


def link(path: str, target: str) -> Callable[[Project], None]:
    def make(project: Project) -> None:
        (project.path / path).unlink()
        (project.path / path).symlink_to(target)

    return make


def ask_servers(project: Project) -> None:
    """Has dvc.yaml, a .dvc file and DVC's settings name servers and folders elsewhere."""
    path = project.path / "dvc.yaml"
    path.write_text(path.read_text().replace("deps: [", "deps: [http://127.0.0.1:9/asked, ", 1))
    imported = "deps: [{path: x, repo: {url: 'http://127.0.0.1:9/repo'}}]\nouts: [{path: metrics/imported.json}]\n"
    (project.path / "metrics/imported.json.dvc").write_text(imported)
    remote = "remote = x\n['remote \"x\"']\n    url = http://127.0.0.1:9\n"
    settings = f"[core]\n    site_cache_dir = {project.path.parent}/outside\n    {remote}"
    (project.path / ".dvc/config").write_text(settings)


MLP, SOFTMAX = "metrics/predictions/mlp_256.json", "metrics/predictions/softmax.json"
METRICS, DESCRIPTION = "metrics/softmax.json", "data/raw/mnist.json"
DEEP = "[" * 100_000
HUGE = [[10, 1, "train", metric, 1.7e308] for metric in ("accuracy", "loss")]
# What a branch does, and the lines that the review prints; HEAD stands for the commit
HOSTILE = {
    "DVC": (
        [ask_servers, link(SOFTMAX, "/dev/zero"), write(METRICS, DEEP)],
        [
            f"{METRICS} in HEAD: not valid JSON: recursion limit exceeded",
            "fetch: http://127.0.0.1:9/asked is a URL, which a review does not ask",
            f"softmax: not compared: {SOFTMAX} in HEAD: expected a file, found a link",
        ],
    ),
    "no JSON": (
        [write(SOFTMAX, DEEP), write(DESCRIPTION, "{"), link("params.yaml", "/etc/passwd")],
        [
            f"softmax: not compared: {SOFTMAX} in HEAD: ",
            f"{DESCRIPTION} in HEAD: not valid JSON",
            "params.yaml in HEAD: expected a file, found a link",
        ],
    ),
    "other types": (
        [
            edit(METRICS, accuracy=10**400, loss=1e999),
            edit(SOFTMAX, prediction=[[10**30] * 100]),
            write(DESCRIPTION, '["MNIST"]'),
            edit(MLP, prediction=[[0] * 100], history=HUGE, loss=[1.7e308]),
            write("plots/errors/softmax.png", "x"),
            write("dvc.yaml", "stages: {x: {matrix: {a: [1, 2]}, cmd: x}}\n"),
            write("dvc.lock", "stages: {fetch: [1]}\n"),
        ],
        [
            f"softmax: not compared: {SOFTMAX} in HEAD: prediction[0][0]: expected a value less than 256, found 1000",
            "dvc.yaml in HEAD: stages.x: not a stage as this project writes it: the key 'matrix' is not known here",
            "dvc.lock in HEAD: stages.fetch: expected",
        ],
    ),
    "an alias bomb": (
        [write("params.yaml", BOMB), write(SOFTMAX, " " * 16_000_001), link(METRICS, "/dev/zero")],
        [
            "params.yaml in HEAD: not valid YAML: more than 500,000 keys",
            f"softmax: not compared: {SOFTMAX} in HEAD: expected at most 16,000,000 bytes, found 16,000,001",
        ],
    ),
}


@pytest.mark.parametrize(("spoils", "lines"), HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_branch_is_only_read_and_what_can_be_read_is_compared(reviewer: Project, spoils, lines) -> None:
    for spoil in (edit(MLP, prediction=[[0] * 100]), *spoils):
        spoil(reviewer)
    reviewer.commit("a stranger's change")
    tip = reviewer.run("git", "rev-parse", "HEAD").stdout.strip()
    reviewer.run("git", "checkout", "-q", "HEAD~1")
    printed = review(reviewer, "HEAD", tip)
    for line in lines:
        assert line.replace("HEAD", tip[:7]) in printed
    assert "→ 10.00 %, fixed" in next(row for row in printed.splitlines() if row.startswith("mlp_256: "))
    assert all("mlp_256" in (reviewer.path / "review" / name).read_text() for name in ("review.html", "review.md"))
    assert not (reviewer.path.parent / "outside").exists()


PATHS = {  # in a workspace, and in a commit
    "/": ("expected a file, found a path that leads elsewhere", "is outside repository"),
    "..": ("expected a file, found a path that leads elsewhere", "is outside repository"),
    "link/passwd": ("expected a file, found a link", "link/passwd deleted"),
    "null\0": ("embedded null byte", "embedded null byte"),
}


def test_paths_that_lead_elsewhere_or_that_no_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stages = {f"s{index}": {"cmd": "x", "deps": [path]} for index, path in enumerate(PATHS)}
    Path("link").symlink_to("/etc")
    Path("dvc.yaml").write_text(json.dumps({"stages": stages}))
    Path("dvc.lock").write_text(json.dumps({"stages": {name: {"cmd": "x"} for name in stages}}))
    Path("params.yaml").write_text("architectures: {}\ntrain: {seeds: [10]}\n")
    git("init", "-q")
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "a stranger's change")
    for number, side in enumerate((WORKSPACE, Revision.find("HEAD"))):
        for line, reasons in zip(stale(side), PATHS.values(), strict=True):
            assert reasons[number] in line


def test_a_commit_has_limits_and_a_folder_has_the_digest_that_dvc_gives(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder/b").mkdir(parents=True)
    for name in ("z", "b/c", "b/a", "b.txt", "stray.pyc"):
        Path("folder", name).write_text("text")
    Path("large").write_text("12345")
    Path(".dvcignore").write_text("*.pyc\n")
    Path("program").write_text("text")
    Path("program").chmod(0o755)
    git("init", "-q")
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "files")
    head = Revision.find("HEAD")
    for side in WORKSPACE, head:
        assert side.digest("folder") == "ba2be6d20406c6a0cb85decf82123325.dir", "of b.txt, b/a, b/c, z"
        assert side.digest("program") == "1cb251ec0d568de6a929b520c4aed8d1"
        assert (side.digest("nowhere"), side.read("nowhere")) == (None, None)
        with pytest.raises(PipelineError, match=r"^folder in .*: expected a file, found a folder$"):
            side.read("folder")
        monkeypatch.setattr(revision, "MAX_FILES", 7 if side is head else 6)  # folders too, in a commit the first, too
        assert side.digest("folder")
        monkeypatch.setattr(revision, "MAX_FILES", 6 if side is head else 5)
        with pytest.raises(PipelineError, match=r"^folder in .*: expected at most \d files, found more$"):
            side.digest("folder")
        monkeypatch.setattr(revision, "MAX_FILES", 100)
        for limit in 5, 4:
            monkeypatch.setattr(revision, "MAX_BYTES", limit)
            revision._read.cache_clear()
            refused = pytest.raises(PipelineError, match=r"^large in .*: expected at most 4 bytes, found 5$")
            with refused if limit < 5 else nullcontext():
                assert side.read("large") == b"12345"
    revision._read.cache_clear()
    revision._read_bytes.clear()
    monkeypatch.setattr(revision, "MAX_TOTAL", 9)
    assert (head.read("folder/z"), head.read("folder/z")) == (b"text", b"text"), "once"
    monkeypatch.setattr(revision, "MAX_BYTES", 100)
    assert head.read("large") == b"12345", "nine bytes so far"
    line = f"^{head.commit[:7]}: expected results of at most 9 bytes together, found more$"
    with pytest.raises(PipelineError, match=line):
        head.read("program")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x", "expected keys and values, found str"),
        ("architectures: 7", "architectures: not a valid name: 7"),
        ("architectures: {../x: 1}", 'architectures: not a valid name: "../x"'),
        (f"architectures: {{{', '.join(f'a{i}: 1' for i in range(10_001))}}}", "expected at most 10,000, found more"),
    ],
)
def test_names_that_cannot_be_read_are_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(PipelineError, match=rf"^params.yaml in head: .*{line}"):
        architectures_of(Revision("head", None, tmp_path))
