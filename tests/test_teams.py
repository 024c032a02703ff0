"""A team's work: remotes, a shared cache and merges, with the real git and dvc."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from stages.support.params import load_params
from tools.common.results import OVER_ALL

from .conftest import ROOT, TUTORIALS, Project, shared_by_workers

UP_TO_DATE = "Data and pipelines are up to date"


def train_longer(params: dict) -> None:
    """Changes the last line of the block of mlp_256."""
    params["architectures"]["mlp_256"]["fit"].update(epochs=3)


def more_filters(params: dict) -> None:
    """Changes the first layer of cnn, whose block follows that of mlp_256."""
    params["architectures"]["cnn"]["layers"][0]["Conv2D"].update(filters=3)


@dataclass
class Team:
    """Two clones with one DVC cache: Ann's, on her branch `ann`, and Bob's, on `bob`."""

    home: Path

    def member(self, name: str) -> Project:
        return Project(self.home / name)

    def copy(self, to: Path) -> "Team":
        shutil.copytree(self.home, to)
        return Team(to)


def team_of(project: Project, home: Path) -> Team:
    """Both clones at the project's last commit, on their branches."""
    team = Team(home)
    ann, bob = project.clone(team.home / "ann"), team.member("bob")
    ann.run("git", "clone", "-q", ".", str(bob.path))
    (ann.path / ".dvc/cache").rename(team.home / "cache")
    for member in (ann, bob):
        member.run("dvc", "cache", "dir", "--local", "../cache")
        member.run("dvc", "checkout")
        member.run("git", "checkout", "-qb", member.path.name)
    return team


@pytest.fixture(scope="module")
def built_team(built_project, tmp_path_factory) -> Team:
    """Ann has changed mlp_256, Bob cnn; run and committed. Not to be changed: copy it."""

    def make(folder: Path) -> None:
        team = team_of(built_project, folder / "team")
        for name, change in (("ann", train_longer), ("bob", more_filters)):
            work(team.member(name), change)

    return Team(shared_by_workers(tmp_path_factory, "team", make) / "team")


@pytest.fixture
def team(built_team, tmp_path: Path) -> Team:
    """Ann has changed mlp_256, Bob cnn. To be changed."""
    return built_team.copy(tmp_path / "team")


def work(project: Project, change: Callable[[dict], None]) -> None:
    project.edit_and_commit(change, change.__name__)


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
    folder_digest = re.search(r"path: data/models/cnn\n +hash: md5\n +md5: (\w+)\.dir", lock)[1]
    remote = Path(folder.url) / "files/md5"
    listing = json.loads((remote / folder_digest[:2] / f"{folder_digest[2:]}.dir").read_text())
    digest = next(file["md5"] for file in listing if file["relpath"] == "10.keras")
    (remote / digest[:2] / digest[2:]).unlink()

    ann.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    done = Project(tmp_path / "clone").run("dvc", "pull", check=False)
    assert done.returncode != 0
    assert digest in done.stderr


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


def merge(ann: Project) -> list[str]:
    """Merges Bob's branch into Ann's; the files that conflict, with Ann's side of them in the workspace."""
    assert ann.run("git", "pull", "-q", "--no-rebase", "../bob", "bob", check=False).returncode != 0
    conflicts = ann.run("git", "diff", "--name-only", "--diff-filter=U").stdout.split()
    ann.run("git", "checkout", "--ours", ".")
    return conflicts


def test_branches_that_add_an_architecture_meet_only_in_dvc_lock_and_nothing_is_trained_again(
    built_project, tmp_path: Path
) -> None:
    def add_softmax(params: dict) -> None:
        (first, its), *others = params["architectures"].items()
        softmax = {**block, "layers": ["Flatten", output]}
        params["architectures"] = {first: its, "softmax": softmax, **dict(others)}

    def add_cnn_tanh(params: dict) -> None:
        params["architectures"]["cnn_tanh"] = {**block, "layers": [convolution, "Flatten", output]}

    output = {"Dense": {"units": "classes", "activation": "softmax"}}
    convolution = {"Conv2D": {"filters": 2, "kernel_size": 3, "activation": "tanh"}}
    block = {"fit": {"epochs": 1, "batch_size": 50}}
    team = team_of(built_project, tmp_path / "team")
    ann, bob = team.member("ann"), team.member("bob")
    for member, change in ((ann, add_softmax), (bob, add_cnn_tanh)):
        member.edit(change)
        member.repro()
        member.commit(change.__name__)
    both = of("softmax", results(ann)) | of("cnn_tanh", results(bob))

    assert merge(ann) == ["dvc.lock"]
    again = ann.repro()
    assert again.ran == {"evaluate@cnn_tanh", "report@cnn_tanh"}, "these are not in the run-cache"
    assert again.restored == {"train@cnn_tanh"}
    merged = results(ann)
    assert {path: merged[path] for path in both} == both
    ann.commit("Merge branch 'bob'")
    assert UP_TO_DATE in ann.run("dvc", "status").stdout


def test_branches_that_add_a_seed_merge_into_both_seeds_and_one_of_them_is_trained_again(
    built_project, tmp_path: Path
) -> None:
    project = built_project.clone(tmp_path / "project")
    project.edit(lambda params: params["architectures"].pop("mlp_256"))
    project.commit("cnn alone")
    team = team_of(project, tmp_path / "team")
    ann, bob = team.member("ann"), team.member("bob")
    for member, seed in ((ann, 11), (bob, 12)):
        member.edit(lambda params, seed=seed: params["train"]["seeds"].append(seed))
        member.repro()
        member.commit(f"seed {seed}")
    model = (bob.path / "data/models/cnn/12.keras").read_bytes()

    conflicts = merge(ann)
    assert {"params.yaml", "dvc.lock", "metrics/cnn.json"} <= set(conflicts)
    ann.edit(lambda params: params["train"].update(seeds=[10, 11, 12]))
    again = ann.repro()
    assert "cnn: trained with seed 12; the same as before with seeds 10, 11" in again.output
    assert (ann.path / "data/models/cnn/12.keras").read_bytes() == model
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


# A cache of several users


def test_users_share_a_cache_as_the_documentation_says(built_project: Project, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root on Linux can run commands as several users")
    group, cache = 54_000, tmp_path / "cache"
    page = (ROOT / "docs/teams.md").read_text().replace("/srv/dvc-cache", str(cache)).replace("GROUP", str(group))
    lines = [line.partition("#")[0].split() for line in page.splitlines() if re.search("/cache |cache.shared", line)]
    folder, *settings = lines
    subprocess.run(folder[1:], check=True)  # without sudo
    runs = []
    for user in (54_001, 54_002):
        home = tmp_path / str(user)
        built_project.git_clone(home / "project")
        shutil.copy(built_project.path / "data/own/digits.npz", home / "project/data/own")
        subprocess.run(["chown", "-R", f"{user}:{user}", str(home)], check=True)
        member = OtherUser(home / "project", is_forked=False, user=user, group=group)
        for words in settings:
            member.run(*words)
        runs.append(member.repro("preprocess"))
    assert runs[0].ran == {"fetch", "preprocess"}
    assert (runs[1].ran, runs[1].restored) == ({"fetch"}, {"preprocess"})


@dataclass(frozen=True)
class OtherUser(Project):
    """A project of another user, who may read what root may, such as its Python, and write only what is theirs."""

    user: int = 0
    group: int = 0

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        kept = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        ids = [f"--reuid={self.user}", f"--regid={self.user}", f"--groups={self.group}"]
        return super().run(
            "env", f"HOME={self.path.parent}", f"USER={self.user}", "setpriv", *ids, *kept, *command, check=check
        )


# Publishing


def test_the_registry_gives_the_model_of_the_first_seed(seeded, tmp_path: Path) -> None:
    project = seeded.clone(tmp_path / "project")
    project.edit(lambda params: params["train"].update(seeds=[11, 10]))
    project.commit("seed 11 first")
    for version, revision, seed in (("v1.0.0", "HEAD~1", 10), ("v2.0.0", "HEAD", 11)):
        project.run("git", "tag", "-a", f"mlp-256@{version}", "-m", version, revision)
        project.run("dvc", "artifacts", "get", ".", "mlp-256", "--rev", version, "-o", f"{seed}.keras")
        model = project.path / f"data/models/mlp_256/{seed}.keras"
        assert (project.path / f"{seed}.keras").read_bytes() == model.read_bytes()
