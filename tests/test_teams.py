"""A team's work: remotes, a shared cache and merges, with the real git and dvc."""

import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from stages.support.params import load_params

from .conftest import ROOT, TUTORIALS, Project, shared_by_workers
from .faults import outputs

UP_TO_DATE = "Data and pipelines are up to date"


def train_longer(params: dict) -> None:
    """Changes the last line of the block of mlp_256."""
    params["architectures"]["mlp_256"]["fit"].update(epochs=3)


@dataclass
class Team:
    """Two clones with one DVC cache: Ann's, on her branch `ann`, and Bob's, on `bob`."""

    home: Path

    @property
    def members(self) -> tuple[Project, Project]:
        return Project(self.home / "ann"), Project(self.home / "bob")

    @classmethod
    def of(cls, project: Project, home: Path) -> "Team":
        """Makes both clones at the project's last commit."""
        team = cls(home)
        ann, bob = team.members
        project.clone(ann.path)
        ann.git_clone(bob.path)
        (ann.path / ".dvc/cache").rename(team.home / "cache")
        for member in (ann, bob):
            member.run("dvc", "cache", "dir", "--local", "../cache")
            member.run("dvc", "checkout")
            member.run("git", "checkout", "-qb", member.path.name)
        return team

    def work(self, *changes: Callable[[dict], None], draw: bool = False) -> "Team":
        """Has Ann edit params.yaml, run and commit; then Bob."""
        for member, change in zip(self.members, changes, strict=True):
            member.edit(change)
            member.repro()
            if draw:
                member.overview()
            member.commit(change.__name__)
        return self

    def merge(self) -> list[str]:
        """Merges Bob's branch into Ann's; the files that conflict, with Ann's side of them in the workspace."""
        ann, _ = self.members
        assert ann.run("git", "pull", "-q", "--no-rebase", "../bob", "bob", check=False).returncode != 0
        conflicts = ann.run("git", "diff", "--name-only", "--diff-filter=U").stdout.split()
        ann.run("git", "checkout", "--ours", ".")
        return conflicts


@pytest.fixture
def team(built_project: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Ann has changed mlp_256, Bob cnn; run and committed."""

    def more_filters(params: dict) -> None:
        params["architectures"]["cnn"]["layers"][0]["Conv2D"].update(filters=3)

    def make(folder: Path) -> None:
        Team.of(built_project, folder / "team").work(train_longer, more_filters, draw=True)

    built = shared_by_workers(tmp_path_factory, "team", make) / "team"
    return Team(shutil.copytree(built, tmp_path / "team"))


def of(architecture: str, project: Project) -> dict[str, bytes]:
    """What the stages of an architecture wrote."""
    return {path: content for path, content in outputs(project).items() if architecture in path}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket on moto's S3, on a free port of this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=30).close()  # noqa: S310
    for name, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(f"AWS_{name}", value)
    yield "s3://bucket/mnist"
    server.stop()


def test_a_remote_gives_back_what_was_pushed_and_spares_its_training(team: Team, s3: str, tmp_path: Path) -> None:
    ann, _ = team.members
    trained_longer = outputs(ann)
    ann.run("dvc", "remote", "add", "--default", "storage", s3)
    ann.commit("a DVC remote")
    ann.run("dvc", "push", "--run-cache")
    ann.run("git", "checkout", "-q", "-")
    ann.run("git", "cherry-pick", "ann")
    ann.run("dvc", "checkout")
    ann.run("dvc", "push", "--run-cache")

    clone = ann.git_clone(tmp_path / "clone")
    clone.run("dvc", "pull", "--run-cache")
    assert UP_TO_DATE in clone.run("dvc", "status").stdout
    assert outputs(clone) == outputs(ann)

    clone.edit(train_longer)
    again = clone.repro("--pull")
    assert "train@mlp_256" in again.restored
    assert not [stage for stage in again.ran if stage.startswith("train@")]
    assert outputs(clone) == trained_longer

    clone.run("git", "checkout", "-q", "params.yaml")
    assert clone.repro("train@mlp_256").restored == {"train@mlp_256"}


def test_branches_that_edit_different_architectures_merge_and_nothing_runs_again(team: Team) -> None:
    ann, bob = team.members
    both = of("mlp_256", ann) | of("cnn", bob)
    for member, other in ((ann, "bob"), (bob, "ann")):
        member.run("git", "pull", "-q", "--no-rebase", "--no-edit", f"../{other}", other)
        assert member.repro().ran == set()
        merged = outputs(member)
        assert {path: merged[path] for path in both} == both
        assert UP_TO_DATE in member.run("dvc", "status").stdout
        assert member.run("git", "status", "--porcelain").stdout == ""

        member.overview()  # git has kept both sides' rows of the two tables over all architectures
        member.run("python", "-m", "tools.overview", "--check")
        written = set(re.findall(r"\S+$", member.run("git", "status", "--porcelain").stdout, re.MULTILINE))
        assert written <= {"plots/comparison.csv", "plots/training.csv"}


def test_branches_that_add_an_architecture_meet_only_in_dvc_lock(built_project: Project, tmp_path: Path) -> None:
    """Nothing is trained again."""

    def add_second(params: dict) -> None:
        (first, its), *others = params["architectures"].items()
        params["architectures"] = {first: its, "second": its, **dict(others)}

    def add_last(params: dict) -> None:
        params["architectures"]["last"] = params["architectures"]["cnn"]

    team = Team.of(built_project, tmp_path / "team").work(add_second, add_last)
    ann, bob = team.members
    both = of("second", ann) | of("last", bob)
    assert team.merge() == ["dvc.lock"]
    again = ann.repro()
    assert again.ran == {"evaluate@last", "report@last"}, "these are not in the run-cache"
    assert again.restored == {"train@last"}
    merged = outputs(ann)
    assert {path: merged[path] for path in both} == both


def test_of_branches_that_add_a_seed_one_is_trained_again(built_project: Project, tmp_path: Path) -> None:
    def add(seed: int) -> Callable[[dict], None]:
        return lambda params: params["train"]["seeds"].append(seed)

    project = built_project.clone(tmp_path / "project")
    project.edit(lambda params: params["architectures"].pop("mlp_256"))
    project.commit("cnn alone")
    team = Team.of(project, tmp_path / "team").work(add(11), add(12))
    ann, bob = team.members
    assert {"params.yaml", "dvc.lock", "metrics/cnn.json"} <= set(team.merge())
    ann.edit(lambda params: params["train"].update(seeds=[10, 11, 12]))
    again = ann.repro()
    assert "cnn: trained with seed 12; the same as before with seeds 10, 11" in again.output
    model = "data/models/cnn/12.keras"
    assert (ann.path / model).read_bytes() == (bob.path / model).read_bytes()


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


@dataclass(frozen=True)
class OtherUser(Project):
    """A project of another user, who may read what root may, such as its Python, and write only what is theirs."""

    user: int = 0
    group: int = 0

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        kept = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        ids = [f"--reuid={self.user}", f"--regid={self.user}", f"--groups={self.group}"]
        home = ("env", f"HOME={self.path.parent}", f"USER={self.user}")
        return super().run(*home, "setpriv", *ids, *kept, *command, check=check)


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


def test_the_registry_gives_the_model_of_the_first_seed(seeded: Project, tmp_path: Path) -> None:
    project = seeded.clone(tmp_path / "project")
    project.edit(lambda params: params["train"].update(seeds=[11, 10]))
    project.commit("seed 11 first")
    for version, revision, seed in (("v1.0.0", "HEAD~1", 10), ("v2.0.0", "HEAD", 11)):
        project.run("git", "tag", "-a", f"mlp-256@{version}", "-m", version, revision)
        project.run("dvc", "artifacts", "get", ".", "mlp-256", "--rev", version, "-o", f"{seed}.keras")
        model = project.path / f"data/models/mlp_256/{seed}.keras"
        assert (project.path / f"{seed}.keras").read_bytes() == model.read_bytes()
