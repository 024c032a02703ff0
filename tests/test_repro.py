"""`make repro`: as plain `dvc repro`, but stages side by side; failures and Ctrl-C."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from dvc.repo import Repo

from .conftest import Project, on_terminal
from .faults import MAKE, make_stale, outputs, wait_until
from .forked import started

REPRO = ("python", "-m", "tools.repro")
DIVERGES = {"optimizer": {"Adam": {"learning_rate": 1e30}}}
UP_TO_DATE = "nothing to run: data, models and results are up to date\n"


def files(project: Project) -> dict[str, bytes]:
    """All files but those of git, of DVC and of Python."""
    paths = (path for path in project.path.rglob("*") if path.is_file())
    relative = {str(path.relative_to(project.path)): path for path in paths if "__pycache__" not in path.parts}
    return {name: path.read_bytes() for name, path in relative.items() if not name.startswith((".git/", ".dvc/"))}


def ran(printed: str) -> list[str]:
    """The stages that have ended, in order."""
    return re.findall(r"^(?:✓|✗|done:|FAILED:) (\S+)  ", printed, re.MULTILINE)


ODD = "PYTHONSAFEPATH=1 PYTHONHOME=/usr PYTHONWARNINGS=error MPLBACKEND=no-such FORCE_COLOR=1 KERAS_HOME=~/keras "
ODD += "HOME=/no/such/home XDG_CACHE_HOME=/dev/null GIT_DIR=/no/such/folder"


def test_a_fresh_clone_gets_what_dvc_repro_leaves_even_in_an_odd_environment(
    built_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `make`, with real processes, in the environment that runs the tests."""
    new = built_project.git_clone(tmp_path / "new")
    new.run("git", "checkout", "-q", "HEAD~1")  # before its first run
    with monkeypatch.context() as patch:
        for variable in f"{ODD} MPLCONFIGDIR={tmp_path}/matplotlib".split():  # which it needs without a home
            patch.setenv(*variable.split("="))
        done = new.ordinary.run(*MAKE, "JOBS=3")
    assert files(new) == files(built_project)
    assert ran(done.stdout)[:2] == ["fetch", "preprocess"]
    assert re.search(r" train@cnn  \d+ s  trained with seed 10$", done.stdout, re.MULTILINE)
    assert re.search(r"^cnn: \d+\.\d\d %.*", done.stdout, re.MULTILINE)
    *_, last = (line for line in done.stdout.splitlines() if not line.startswith("make"))  # which may print its folder
    assert last.startswith("look at plots/report.html; ")
    assert "\033" not in done.stdout
    assert done.stderr == ""
    assert new.repro().ran == set()
    assert new.run(*REPRO).stdout == UP_TO_DATE


def test_a_project_without_git_runs_and_git_can_come_later(project: Project) -> None:
    before = outputs(project)
    make_stale(project, "preprocess")
    shutil.rmtree(project.path / ".git")
    notice = (
        "no git repository: everything runs, but no result can be compared with an earlier one; git init starts one\n"
    )
    assert project.run(*REPRO).stderr == notice
    line = "error: no git repository here, which this needs; git init starts one\n"
    assert project.run("python", "-m", "tools.review", "HEAD", check=False).stderr == line
    assert outputs(project) == before
    assert "Data and pipelines are up to date" in project.run("dvc", "status").stdout
    assert project.run(*REPRO).stderr == notice

    project.run("git", "init", "-q")
    project.commit("later")
    assert project.run(*REPRO).stderr == ""
    project.edit_json("metrics/cnn.json", lambda metrics: metrics.update(accuracy=1.0))
    assert "accuracy" in project.run("dvc", "metrics", "diff").stdout


@pytest.mark.parametrize(("command", "status"), [("tools.repro", 0), ("tools.review HEAD", 1)])
def test_a_repository_of_another_user_is_one_line_with_the_remedy(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: int
) -> None:
    far = project.clone(tmp_path / ("a long name " * 15) / "it's here")  # longer than messages may be
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git's own tests do
    done = far.run("python", "-m", *command.split(), check=False)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    remedy = re.search("the repository belongs to another user; if you trust it, run: (git config .*)", done.stderr)
    assert remedy
    far.run("sh", "-c", remedy[1])
    assert "belongs" not in far.run("python", "-m", *command.split(), check=False).stderr


def test_a_terminal_shows_what_runs_and_what_each_stage_printed(project: Project) -> None:
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=60))
    make_stale(project, "report@cnn")
    status, printed = on_terminal(project, *REPRO)
    assert status == 0
    printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed)
    assert re.search(r"train@mlp_256-10 .*epoch \d+/60 +\d+ s", printed)
    assert "3 of 4 stages" in printed
    results = {"train": "trained with seed 10", "evaluate": "test accuracy", "report": r"\d+ of 100"}
    for stage, result in results.items():  # which has no name again
        assert len(re.findall(rf"✓ {stage}@mlp_256  \d+ s  {result} ?", printed)) == 1
    assert len(re.findall(r"✓ report@cnn  \d+ s  \d+ of 100 ?", printed)) == 1
    assert "look at plots/report.html" in printed.splitlines()[-1]


def check_it_does_what_dvc_repro_does(project: Project, folder: Path) -> str:
    """Both leave the same files; what `make repro` printed."""
    plain = project.clone(folder / "plain")
    plain.repro()
    plain.overview()
    printed = project.run(*REPRO).stdout
    assert files(project) == files(plain)
    return printed


ELSEWHERE = """\
stages:
  vote: {cmd: cp ../metrics/cnn.json votes.json, deps: [../metrics/cnn.json], outs: [votes.json]}
  unused: {cmd: touch unused.txt, outs: [unused.txt]}
"""
MINE = "{cmd: cat scans/page.txt votes/votes.json > mine.txt, deps: [scans, votes/votes.json], outs: [mine.txt]}"


def test_it_runs_what_dvc_repro_runs_of_new_architectures_other_pipelines_and_added_files(project, tmp_path) -> None:
    softmax = {"layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]}
    new = dict.fromkeys(("007", "null"), softmax | {"fit": {"epochs": 1, "batch_size": 50}})  # no strings in YAML
    project.edit(lambda params: params["architectures"].update(new))
    for folder in ("votes", "photos", "scans"):
        (project.path / folder).mkdir()
        (project.path / folder / "page.txt").write_text("before")
    (project.path / "votes/dvc.yaml").write_text(ELSEWHERE)
    project.run("dvc", "add", "photos", "scans")
    wiring = project.path / "dvc.yaml"
    wiring.write_text(wiring.read_text().replace("\n  preprocess:", f"\n  mine: {MINE}\n  preprocess:", 1))
    for folder in ("photos", "scans"):
        (project.path / folder / "page.txt").write_text("after")
    printed = check_it_does_what_dvc_repro_does(project, tmp_path)
    of_new = {f"{stage}@{name}" for stage in ("train", "evaluate", "report") for name in new}
    assert set(ran(printed)) == {"scans.dvc", "votes/dvc.yaml:vote", "mine", *of_new}
    assert "photos" not in printed
    assert project.run(*REPRO).stdout == UP_TO_DATE


def test_a_lock_with_more_than_stages_is_left_as_dvc_repro_leaves_it(project: Project, tmp_path: Path) -> None:
    lock = project.path / "dvc.lock"
    make_stale(project, "report@cnn")
    lock.write_text(f"{lock.read_text()}datasets:\n- name: more\n  type: url\n  url: s3://more\n  lock: {{}}\n# mine\n")
    check_it_does_what_dvc_repro_does(project, tmp_path)


def test_a_failure_stops_what_depends_on_it_and_nothing_else(project: Project) -> None:
    before = (project.path / "metrics/mlp_256.json").read_bytes()
    project.edit(lambda params: params["architectures"]["mlp_256"].update(compile=DIVERGES))
    project.edit(lambda params: params["overview"].update(confidence=0.99))
    make_stale(project, "report@cnn")
    done = project.run(*REPRO, check=False)
    assert done.returncode == 1
    assert "99% interval" in (project.path / "plots/report.html").read_text(), "the overview of what there is"
    assert "error: params.yaml: architectures.mlp_256: expected a finite loss" in done.stdout
    failed = "failed, see above: train@mlp_256; not run, as they depend on it: evaluate@mlp_256, report@mlp_256"
    assert not list(project.path.glob("data/models/mlp_256/10.*"))
    assert (project.path / "metrics/mlp_256.json").read_bytes() == before, "recorded something of it"
    assert done.stderr == f"error: {failed}; fix it and rerun; finished stages are kept\n"
    status = project.run("dvc", "status").stdout
    assert "mlp_256" in status
    assert "cnn" not in status


@pytest.mark.parametrize(
    ("path", "good", "bad", "error"),
    [
        ("params.yaml", "epochs: 1", "epochs: 0", r"params.yaml: architectures.cnn.fit.epochs: "),
        ("params.yaml", "pixel_max: 240", "pixel_max: [240", r"params.yaml: not valid YAML: line \d+, column \d+: "),
        ("dvc.yaml", "deps:", "dependencies:", "'./dvc.yaml' validation failed: extra keys not allowed @ .*'fetch'"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(project: Project, path, good, bad, error) -> None:
    text = (project.path / path).read_text()
    (project.path / path).write_text(text.replace(good, bad, 1))
    check_one_line(project, error)


def check_one_line(project: Project, error: str) -> None:
    done = project.run(*REPRO, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(f"error: {error}", done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_busy_project_and_a_home_that_is_no_folder_are_one_line(project: Project, monkeypatch) -> None:
    with Repo(project.path) as repo, repo.lock:
        check_one_line(project, "Unable to acquire lock. Most likely another DVC process is running")
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    check_one_line(project, "/dev/null/.config/dvc/config: DVC cannot read it: Not a directory; see that HOME")


def test_ctrl_c_leaves_what_dvc_repro_completes(project: Project, built_project: Project) -> None:
    before = project.params.read_bytes()
    project.edit(lambda params: [item["fit"].update(epochs=10**6) for item in params["architectures"].values()])
    with started(project, *REPRO, "--jobs", "2") as run:
        # until both are trained
        wait_until(lambda: len(list(project.path.glob(".checkpoints/*/[0-9]*.npz"))) == 2 or run.has_ended())
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        assert run.wait() == (130, "interrupted; rerun to continue\n")

    project.params.write_bytes(before)
    project.repro()
    assert outputs(project) == outputs(built_project)
    assert not list(project.path.rglob(".partial-*")), "an unfinished checkpoint stays behind"
