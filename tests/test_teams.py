"""A team's work: remotes, a shared cache and merges, with the real git and dvc."""

import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from stages.common.params import load_params
from tools.common.results import OVER_ALL

from .conftest import TUTORIALS, Project

UP_TO_DATE = "Data and pipelines are up to date"


def train_longer(params: dict) -> None:
    """Changes the last line of the block of mlp_256."""
    params["architectures"]["mlp_256"]["fit"].update(epochs=3)


def more_filters(params: dict) -> None:
    """Changes the first layer of cnn, whose block follows that of mlp_256."""
    params["architectures"]["cnn"]["layers"][0]["Conv2D"].update(filters=3)


@dataclass
class Team:
    """Two clones with one DVC cache: Ann has changed mlp_256 on her branch `ann`, Bob cnn on his branch `bob`."""

    home: Path

    def member(self, name: str) -> Project:
        return Project(self.home / name)

    def copy(self, to: Path) -> "Team":
        shutil.copytree(self.home, to)
        return Team(to)


@pytest.fixture(scope="module")
def built_team(built_project, tmp_path_factory) -> Team:
    """Both branches run and committed. Not to be changed: copy it."""
    team = Team(tmp_path_factory.mktemp("team") / "team")
    ann, bob = built_project.clone(team.home / "ann"), team.member("bob")
    ann.run("git", "clone", "-q", ".", str(bob.path))
    (ann.path / ".dvc/cache").rename(team.home / "cache")
    for member, change in ((ann, train_longer), (bob, more_filters)):
        member.run("dvc", "cache", "dir", "--local", "../cache")
        member.run("dvc", "checkout")
        member.run("git", "checkout", "-qb", member.path.name)
        work(member, change)
    return team


@pytest.fixture
def team(built_team, tmp_path: Path) -> Team:
    """A copy of both clones and their cache, to be changed."""
    return built_team.copy(tmp_path / "team")


def work(project: Project, change: Callable[[dict], None]) -> None:
    project.edit(change)
    project.repro()
    project.overview()
    project.commit(change.__name__)


def results(project: Project) -> dict[str, bytes]:
    """What the stages wrote, in git or not, and so without the views over all architectures: path → content."""
    files = (path for folder in ("data", "metrics", "plots") for path in (project.path / folder).rglob("*"))
    written = {path.relative_to(project.path): path for path in files if path.is_file()}
    return {str(name): path.read_bytes() for name, path in written.items() if name not in OVER_ALL}


def of(architecture: str, contents: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in contents.items() if architecture in path}


# Remotes


@dataclass
class Remote:
    """How a user sets up a DVC remote: what is committed, and what each clone keeps to itself."""

    url: str
    shared: dict[str, str] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)

    def add(self, project: Project) -> None:
        project.run("dvc", "remote", "add", "--default", "storage", self.url)
        for option, value in self.shared.items():
            project.run("dvc", "remote", "modify", "storage", option, value)
        project.commit("a DVC remote")
        self.log_in(project)

    def log_in(self, project: Project) -> None:
        for option, value in self.local.items():
            project.run("dvc", "remote", "modify", "--local", "storage", option, value)


@pytest.fixture
def folder(tmp_path: Path) -> Remote:
    return Remote(str(tmp_path / "storage"))


@pytest.fixture
def s3() -> Iterator[Remote]:
    """A bucket on moto's S3, on a free port of this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=30).close()  # noqa: S310
    secrets = {"access_key_id": "test", "secret_access_key": "test"}
    yield Remote("s3://bucket/mnist", shared={"endpointurl": endpoint}, local=secrets)
    server.stop()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_remote_gives_back_what_was_pushed_and_spares_its_training(
    team, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    remote, ann = request.getfixturevalue(kind), team.member("ann")
    trained_longer = results(ann)
    remote.add(ann)
    ann.run("dvc", "push", "--run-cache")
    ann.run("git", "checkout", "-q", "-")
    ann.run("git", "cherry-pick", "ann")
    ann.run("dvc", "checkout")
    ann.run("dvc", "push", "--run-cache")

    ann.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    remote.log_in(clone)
    clone.run("dvc", "pull", "--run-cache")
    assert UP_TO_DATE in clone.run("dvc", "status").stdout
    assert results(clone) == results(ann)

    clone.edit(train_longer)
    again = clone.repro("--pull")
    assert "train@mlp_256" in again.restored
    assert not [stage for stage in again.ran if stage.startswith("train@")]
    assert results(clone) == trained_longer

    clone.run("git", "checkout", "-q", "params.yaml")
    assert clone.repro("train@mlp_256").restored == {"train@mlp_256"}


def test_a_remote_without_the_data_is_an_error(team, folder: Remote, tmp_path: Path) -> None:
    ann = team.member("ann")
    folder.add(ann)
    ann.run("dvc", "push")
    lock = (ann.path / "dvc.lock").read_text()
    digest = re.search(r"path: data/models/cnn\.keras\n +hash: md5\n +md5: (\w+)", lock)[1]
    (Path(folder.url) / "files/md5" / digest[:2] / digest[2:]).unlink()

    ann.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    done = Project(tmp_path / "clone").run("dvc", "pull", check=False)
    assert done.returncode != 0
    assert digest in done.stderr
    assert "data/models/cnn.keras" in done.stderr


# Merges


@pytest.mark.parametrize(("name", "other"), [("ann", "bob"), ("bob", "ann")])
def test_branches_that_edit_different_architectures_merge_and_nothing_runs_again(team, name: str, other: str) -> None:
    project = team.member(name)
    both = of("mlp_256", results(team.member("ann"))) | of("cnn", results(team.member("bob")))
    project.run("git", "pull", "-q", "--no-rebase", "--no-edit", f"../{other}", other)

    assert project.repro().ran == set()
    merged = results(project)
    assert {path: merged[path] for path in both} == both
    assert UP_TO_DATE in project.run("dvc", "status").stdout
    assert project.run("git", "status", "--porcelain").stdout == ""

    project.overview()  # git has kept both sides' rows of the two tables over all architectures
    project.run("python", "-m", "tools.overview", "--check")
    written = set(re.findall(r"\S+$", project.run("git", "status", "--porcelain").stdout, re.MULTILINE))
    assert written <= {"plots/comparison.csv", "plots/training.csv"}


def test_branches_that_add_an_architecture_meet_only_in_dvc_lock_and_nothing_is_trained_again(team) -> None:
    def add_softmax(params: dict) -> None:
        (first, its), *others = params["architectures"].items()
        softmax = {**block, "layers": ["Flatten", output]}
        params["architectures"] = {first: its, "softmax": softmax, **dict(others)}

    def add_cnn_tanh(params: dict) -> None:
        params["architectures"]["cnn_tanh"] = {**block, "layers": [convolution, "Flatten", output]}

    output = {"Dense": {"units": "classes", "activation": "softmax"}}
    convolution = {"Conv2D": {"filters": 2, "kernel_size": 3, "activation": "tanh"}}
    block = {"fit": {"epochs": 1, "batch_size": 50}}
    ann, bob = team.member("ann"), team.member("bob")
    for member, change in ((ann, add_softmax), (bob, add_cnn_tanh)):
        member.edit(change)
        member.repro()
        member.commit(change.__name__)
    both = of("softmax", results(ann)) | of("cnn_tanh", results(bob))

    assert ann.run("git", "pull", "-q", "--no-rebase", "../bob", "bob", check=False).returncode != 0
    assert ann.run("git", "diff", "--name-only", "--diff-filter=U").stdout.split() == ["dvc.lock"]
    ann.run("git", "checkout", "--ours", "dvc.lock")
    assert ann.repro().ran == {"report@cnn", "report@cnn_tanh"}, "these are not in the run-cache"
    merged = results(ann)
    assert {path: merged[path] for path in both} == both
    ann.commit("Merge branch 'bob'")
    assert UP_TO_DATE in ann.run("dvc", "status").stdout


def test_neighbouring_lines_of_different_architectures_merge_in_params_yaml(tmp_path: Path) -> None:
    lines = TUTORIALS.read_text().splitlines()
    names = list(load_params(TUTORIALS).architectures)
    starts = [next(i for i, line in enumerate(lines) if line.startswith(f"  {name}:")) for name in names]
    for first, second in pairwise(starts):
        last = max(i for i in range(first, second) if "fit:" in lines[i])
        for file, changed in (("base", None), ("ours", last), ("theirs", second)):
            edited = [f"{line} # edited" if i == changed else line for i, line in enumerate(lines)]
            (tmp_path / file).write_text("\n".join(edited))
        Project(tmp_path).run("git", "merge-file", "ours", "base", "theirs")
        assert (tmp_path / "ours").read_text().count("# edited") == 2
