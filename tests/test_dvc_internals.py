"""DVC's internals (tools/repro/dvc_internals.py) do what this project expects; fails if an upgrade changes them."""

from pathlib import Path

import pytest

from tools.common.lock import digests, read_lock
from tools.repro.dvc_internals import is_lock, plan

from .conftest import Project

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of what DVC imports


def test_the_plan_is_that_of_dvc_repro(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    assert plan([]).outdated == set()
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=2))
    planned = plan([])
    assert planned.outdated == {"train@cnn", "evaluate@cnn", "report@cnn"}
    assert set(planned.upstream) == set(read_lock(project.path / "dvc.lock"))
    assert set(planned.upstream["report@cnn"]) == {"preprocess", "evaluate@cnn"}
    assert [(lock.name, names) for lock, names in planned.recorded.items()] == [("dvc.lock", list(planned.upstream))]
    assert planned.written["train@cnn"] > (project.path / "data/models/cnn/10.keras").stat().st_size
    assert planned.commands["train@cnn"].startswith("python -m stages.train cnn data/prepared/train ")
    assert set(plan(["evaluate@cnn"]).upstream) == {"fetch", "preprocess", "train@cnn", "evaluate@cnn"}
    assert is_lock("schema: '2.0'\nstages: {}\ndatasets: []\n"), "others are in test_faults.py"


def test_a_folder_that_may_not_be_written_is_no_matter_of_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", ".dvc/tmp/lock")

    monkeypatch.setattr("tools.repro.dvc_internals.Repo", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):  # make repro prints what to change
        plan([])


def test_what_was_trained_on_other_data_than_recorded_is_outdated_though_both_are_missing(
    built_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = built_project.git_clone(tmp_path / "clone")
    monkeypatch.chdir(clone.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", clone.environment["DVC_SITE_CACHE_DIR"])
    assert plan([], allow_missing=True).outdated == set()
    half = clone.path / "data/models/mlp_256"  # as an interrupted training leaves it
    half.mkdir(parents=True)
    needed = {"fetch", "preprocess"}
    assert plan([], allow_missing=True).outdated == needed | {"train@mlp_256", "evaluate@mlp_256", "report@mlp_256"}
    half.rmdir()
    lock = clone.path / "dvc.lock"
    start, entry = lock.read_text().split("  train@cnn:", 1)
    digest = digests(read_lock(lock)["train@cnn"], "deps")["data/prepared/train"]
    lock.write_text(f"{start}  train@cnn:{entry.replace(digest, f'{0:032x}.dir', 1)}")
    assert plan([], allow_missing=True).outdated == needed | {"train@cnn", "evaluate@cnn", "report@cnn"}
