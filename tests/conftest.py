"""A tiny project: the real dvc.yaml, stages and templates on 8 x 8 digits and two small architectures."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits

from stages.data.archive import Archive, write_archive
from stages.support.yaml import parse_yaml, read_yaml, to_yaml
from tools.common.arguments import number

from . import forked
from .forked import on_terminal as on_terminal

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "tests/params.yaml"
COPIED = (".dvc/config", ".dvc/plots", ".dvc/plots.html", ".dvcignore", ".gitattributes", ".gitignore")
COPIED += ("data/own/README.md", "dvc.yaml", "stages", "tools")

settings.register_profile("the same examples in every run", derandomize=True, deadline=None)
settings.load_profile("the same examples in every run")

TINY_PARAMS = (ROOT / "tests/tiny.yaml").read_text()
ARTIFACT = """
artifacts:
  mlp-256: {path: "data/models/mlp_256/${train.seeds[0]}.keras", type: model}
"""


def tiny_archive(train: int = 300, test: int = 100) -> Archive:
    """Scikit-learn's digits as they are: 8 x 8 pixels of 0, 15, … 240."""
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    end = train + test
    return Archive(images[:train], labels[:train], images[train:end], labels[train:end])


def pytest_addoption(parser: pytest.Parser) -> None:
    times = "repetitions of each fault, each at another moment"
    parser.addoption("--times", type=number(1, most=10_000), default=1, help=times)
    parser.addoption("--screenshots", help="folder for pictures of the pages in tests/test_browser.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("times"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(metafunc.config.getoption("--times")))


@dataclass
class Repro:
    """What a `dvc repro` did, stage by stage."""

    output: str

    @property
    def ran(self) -> set[str]:
        return set(re.findall(r"Running stage '([^']+)'", self.output))

    @property
    def restored(self) -> set[str]:
        return set(re.findall(r"Stage '([^']+)' is cached", self.output))


@dataclass(frozen=True)
class Project:
    """A project folder with git and DVC, run with the real commands.

    Its `python -m` and `dvc` run in forks (tests/forked.py), those of `ordinary` in processes of their own.
    """

    path: Path
    is_forked: bool = True

    @property
    def ordinary(self) -> "Project":
        return replace(self, is_forked=False)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_SITE_CACHE_DIR": f"{self.path}.site-cache",
            **{f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        if self.is_forked and (command[0] == "dvc" or command[:2] == ("python", "-m")):
            done = forked.run(self, *command)
        else:
            options = {"cwd": self.path, "env": self.environment, "text": True, "capture_output": True}
            done = subprocess.run(command, **options, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def repro(self, *arguments: str) -> Repro:
        return Repro(self.run("dvc", "repro", *arguments).stdout)

    def overview(self) -> None:
        self.run("python", "-m", "tools.overview")

    def edit_and_commit(self, change: Callable[[dict[str, Any]], None], message: str) -> Repro:
        """Changes params.yaml, runs what that affects, draws the overview and commits; returns what ran."""
        self.edit(change)
        done = self.repro()
        self.overview()
        self.commit(message)
        return done

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    @property
    def params(self) -> Path:
        return self.path / "params.yaml"

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        content = read_yaml(self.params)
        change(content)
        self.write_params(content)

    def write_params(self, content: dict[str, Any]) -> None:
        self.params.write_text(f"# a comment\n{to_yaml(content)}")

    def edit_json(self, path: str, change: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads((self.path / path).read_text())
        change(content)
        (self.path / path).write_text(json.dumps(content))

    def clone(self, to: Path) -> "Project":
        shutil.copytree(self.path, to)
        return Project(to)

    def git_clone(self, to: Path) -> "Project":
        """A fresh clone: no cache, no remote, no data."""
        self.run("git", "clone", "-q", ".", str(to))
        return Project(to)


def shared_by_workers(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that all workers of pytest-xdist share; the first that needs it makes what lies there."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder / "done"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def build(folder: Path) -> None:
    """Makes the tiny project, runs it with `dvc repro`, and commits."""
    project = Project(folder / "project")
    for name in COPIED:
        source, target = ROOT / name, project.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    wiring = project.path / "dvc.yaml"
    wiring.write_text(wiring.read_text().partition("\nartifacts:")[0] + ARTIFACT)
    project.write_params(parse_yaml(TINY_PARAMS.encode(), "TINY_PARAMS"))
    write_archive(project.path / "data/own/digits.npz", tiny_archive())
    project.run("git", "init", "-q")
    project.run("git", "add", "--force", "data/own/digits.npz")  # so that clones have it
    project.commit("the tiny project")
    project.repro()
    project.overview()
    project.commit("a full run")


Change = Callable[[dict[str, Any]], None]  # of the content of params.yaml


def with_commit(factory: pytest.TempPathFactory, base: Project, name: str, change: Change) -> Project:
    """A project, shared by all workers, with one more commit: params.yaml changed, run. Not to be changed."""

    def make(folder: Path) -> None:
        base.clone(folder / "project").edit_and_commit(change, name)

    return Project(shared_by_workers(factory, name, make) / "project")


@pytest.fixture(scope="session", autouse=True)
def _signals_as_on_a_terminal() -> None:
    """Restores the signals that nohup, or `&` in a script, made the tests ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for usual in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(usual, signal.SIG_DFL)


@pytest.fixture(scope="session")
def built_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project after one `dvc repro`, committed. Not to be changed: clone it."""
    forkserver.ensure_running()  # before a test changes the environment, with which the server would run
    return Project(shared_by_workers(tmp_path_factory, "built", build) / "project")


@pytest.fixture
def project(built_project: Project, tmp_path: Path) -> Project:
    """A copy of the built project, to be changed."""
    return built_project.clone(tmp_path / "project")


@pytest.fixture(scope="session")
def changed(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project and, on top, a commit that edits one architecture, adds one and removes one."""

    def change(params: dict) -> None:
        architectures = params["architectures"]
        architectures["mlp_256"]["layers"].insert(2, {"Dropout": {"rate": 0.5}})
        architectures["mlp_256"]["fit"]["epochs"] = 1
        layers = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
        architectures["softmax"] = {"layers": layers, "fit": {"epochs": 1, "batch_size": 50}}
        del architectures["cnn"]

    return with_commit(tmp_path_factory, built_project, "changed", change)


@pytest.fixture(scope="session")
def seeded(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project and a commit with a second seed. Not to be changed."""
    return with_commit(tmp_path_factory, built_project, "seeded", lambda params: params["train"]["seeds"].append(11))


@pytest.fixture
def reviewer(changed: Project, tmp_path: Path) -> Project:
    """A fresh clone of the changed project: no cache, no remote, no data."""
    return changed.git_clone(tmp_path / "clone")
