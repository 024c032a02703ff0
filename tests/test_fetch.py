"""Where the data come from: the order of places, the data set of an earlier run, the offline default."""

import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from stages.data.archive import Description, write_archive
from stages.data.earlier import Earlier
from stages.data.offline import embedded_digits
from stages.fetch import EMBEDDED, fetch, keras_cache
from stages.support.errors import PipelineError
from stages.support.params import Source, load_params

from .conftest import ROOT, TUTORIALS, Project, Repro, tiny_archive
from .faults import outputs

NOWHERE = "http://127.0.0.1:9/mnist.npz"  # the discard port: refused at once
DIGITS = f"    - {{dataset: digits, places: ['{EMBEDDED}']}}"


def source(*places: str, sha256: str | None = None) -> Source:
    return Source(dataset="tiny", places=list(places), sha256=sha256)


def run_fetch(folder: Path, sources: str) -> subprocess.CompletedProcess[str]:
    """Runs the stage as DVC does, in `folder`, with these sources in an otherwise real params.yaml."""
    if not (folder / "stages").exists():
        (folder / "stages").symlink_to(ROOT / "stages")
    params = TUTORIALS.read_text()
    (folder / "params.yaml").write_text(f"data:\n  sources:\n{sources}\n{params[params.index('preprocess:') :]}")
    return Project(folder).run("python", "-m", "stages.fetch", "out/mnist.npz", "out/mnist.json", check=False)


def fetched(folder: Path) -> str:
    return json.loads((folder / "mnist.json").read_text())["dataset"]


def test_the_first_place_that_works_serves(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    right, other = tiny_archive(200), tmp_path / "other.npz"
    write_archive(other, tiny_archive())
    write_archive(good := tmp_path / "good.npz", right)
    places = source("keras:mnist.npz", NOWHERE, str(other), str(good), sha256=right.sha256())
    archive, _, place = fetch([places])
    assert (archive.sha256(), place) == (right.sha256(), str(good))
    cached, refused, wrong = capsys.readouterr().err.splitlines()
    assert cached == f"skipped: {tmp_path}/keras/datasets/mnist.npz: no such file"
    assert refused.startswith(f"skipped: {NOWHERE}: cannot download: ")
    expected = f"expected arrays with SHA-256 {right.sha256()}, found {tiny_archive().sha256()}; "
    assert wrong.startswith(f"skipped: {other}: {expected}")

    write_archive(tmp_path / "keras/datasets/mnist.npz", right)
    assert fetch([places])[2] == "keras:mnist.npz"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("keras_home", [None, ""])
def test_the_cache_of_keras_is_in_the_home_folder_by_default(keras_home: str | None, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    if keras_home is not None:
        monkeypatch.setenv("KERAS_HOME", keras_home)
    assert keras_cache() == Path("/home/ann/.keras/datasets")


def test_the_offline_digits_come_with_a_notice_where_they_replace_another_data_set(tmp_path: Path) -> None:
    assert load_params(TUTORIALS).data.sources[-1].places == [EMBEDDED], "the real params.yaml ends with them"
    mnist = f"    - {{dataset: MNIST, places: ['{NOWHERE}']}}"
    done = run_fetch(tmp_path, f"{mnist}\n{DIGITS}")
    assert (done.returncode, fetched(tmp_path / "out")) == (0, "digits")
    assert "NOTICE: this is NOT MNIST. It could not be reached, so the pipeline uses digits instead." in done.stderr
    shutil.rmtree(tmp_path / "out")
    done = run_fetch(tmp_path, f"{DIGITS}\n{mnist}")
    assert (done.returncode, fetched(tmp_path / "out")) == (0, "digits")
    assert done.stderr == "", "they were listed first"


def test_the_description_does_not_depend_on_which_verified_place_served(tmp_path: Path) -> None:
    square = tiny_archive()
    wide = replace(square, x_train=square.x_train[:, 1:7], x_test=square.x_test[:, 1:7])
    for name in ("a.npz", "b.npz"):
        write_archive(tmp_path / name, wide)
    lines = f"    - {{dataset: tiny, sha256: '{wide.sha256()}', places: [a.npz, b.npz]}}"
    counts = "300 training and 100 test images of 6 x 8 pixels, 10 classes\n"
    assert run_fetch(tmp_path, lines).stdout == f"tiny, from a.npz\n{counts}"
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "a.npz").unlink()
    assert run_fetch(tmp_path, lines).stdout == f"tiny, from b.npz\n{counts}"
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    assert json.loads(first["mnist.json"])["source"] == ["a.npz", "b.npz"]


def test_the_embedded_digits_have_the_form_of_mnist() -> None:
    """28 x 28 pixels, with each digit in a box of 20, centred by its mass."""
    archive = embedded_digits()
    assert archive.x_train.shape == (1437, 28, 28)
    assert archive.x_test.shape == (360, 28, 28)
    shares = [np.bincount(labels) / len(labels) for labels in (archive.y_train, archive.y_test)]
    np.testing.assert_allclose(*shares, atol=0.002)
    assert archive.sha256() == embedded_digits().sha256()
    for image in archive.x_test:
        assert max(map(np.ptp, np.nonzero(image))) + 1 == 20
        assert ndimage.center_of_mass(image) == pytest.approx((13.5, 13.5), abs=0.75)


BAD_PLACES = {
    "text.npz": "not a data set: File is not a zip file",
    "names.npz": "found x\\n\\x1b[31mtrain",
    "folder": "expected folders of 2 to 256 classes",
    "nowhere.npz": "no such file",
    "ftp://127.0.0.1/mnist.npz": "cannot download: No connection adapters were found",
    "file:///etc/passwd": "cannot download: No connection adapters were found",
    "http://[::1/mnist.npz": "cannot download",
    "~nobody-of-this-name/mnist.npz": "not a path: Could not determine home directory",
    f"{'long' * 100}.npz": "cannot read: File name too long",
}


def test_a_place_that_cannot_be_read_is_reported_and_the_next_one_serves(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    write_archive(Path("good.npz"), tiny_archive())
    Path("text.npz").write_text("<html>Please log in</html>")
    with zipfile.ZipFile("names.npz", "w") as file:
        file.writestr("x\n\033[31mtrain.npy", bytes(1000))
    assert fetch([source(*BAD_PLACES, "good.npz")])[2] == "good.npz"
    lines = capsys.readouterr().err.splitlines()
    for line, (place, reason) in zip(lines, BAD_PLACES.items(), strict=True):
        assert line.startswith(f"skipped: {place}: ")
        assert reason in line


def test_a_copy_of_other_data_does_not_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy, description = Path("mnist.npz"), Path("mnist.json")
    Description.of(tiny_archive(), "tiny", ["gone.npz"]).write(description)
    write_archive(copy, tiny_archive(200))
    with pytest.raises(PipelineError, match=r"mnist.npz: no intact copy in the workspace or DVC's cache"):
        fetch([source("gone.npz")], Earlier(copy, description))
    write_archive(copy, tiny_archive())
    assert fetch([source("gone.npz")], Earlier(copy, description))[0].sha256() == tiny_archive().sha256()


@pytest.fixture
def unreachable(project: Project) -> Project:
    """The built project, whose source is gone, with another source and a change that makes fetch run again."""
    project.edit(lambda params: params["data"]["sources"].append({"dataset": "digits", "places": [EMBEDDED]}))
    (project.path / "data/own/digits.npz").unlink()
    return project


def test_the_data_stay_where_no_place_serves_them_any_more(unreachable: Project) -> None:
    before = outputs(unreachable)
    for gone in ((), ("data/raw/mnist.npz",), ("data/raw/mnist.npz", "data/raw/mnist.json")):
        if len(gone) == 2:  # then the pinned digest decides whose the data are
            unreachable.edit(lambda params: params["data"]["sources"][0].update(sha256=tiny_archive().sha256()))
        for name in gone:
            (unreachable.path / name).unlink()
        done = unreachable.run("dvc", "repro", "--force", "--single-item", "fetch")
        assert "skipped: data/own/digits.npz: no such file" in done.stderr
        assert outputs(unreachable) == before
    assert Repro(unreachable.run("dvc", "repro").stdout).ran == set()


def test_another_data_set_does_not_replace_data_that_are_gone_unless_it_is_listed_first(unreachable: Project) -> None:
    for name in ("data/raw", ".dvc/cache"):
        shutil.rmtree(unreachable.path / name)
    done = unreachable.run("dvc", "repro", check=False)
    assert "data.sources: could not get the data set (data/own/digits.npz: no such file" in done.stderr
    assert "digits: used in a first run only; to use it now, list it first" in done.stderr
    assert Repro(done.stdout).ran == {"fetch"}
    assert (unreachable.path / "data/models/cnn/10.keras").exists()
    unreachable.edit(lambda params: params["data"]["sources"].reverse())
    unreachable.run("dvc", "repro", "fetch")
    assert fetched(unreachable.path / "data/raw") == "digits"


def test_a_fresh_clone_without_network_takes_the_next_source(unreachable: Project, tmp_path: Path) -> None:
    unreachable.commit("no place serves")
    clone = unreachable.git_clone(tmp_path / "clone")
    clone.run("dvc", "repro", "fetch")
    assert fetched(clone.path / "data/raw") == "digits"
