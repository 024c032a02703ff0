"""Where the data come from: the order of places, failing downloads, the offline default."""

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stages.data.archive import MEMBERS, read_archive, write_archive
from stages.data.offline import embedded_digits, fit_like_mnist
from stages.fetch import EMBEDDED, fetch, read_place
from stages.support.errors import PipelineError
from stages.support.params import Source, load_params

from .conftest import ROOT, TUTORIALS, Project, Repro, tiny_archive
from .faults import as_an_ordinary_user, outputs

NOWHERE = "http://127.0.0.1:9/mnist.npz"  # the discard port: refused at once


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves an archive well and badly; yields the server's address."""
    write_archive(tmp_path / "served.npz", tiny_archive())
    content = (tmp_path / "served.npz").read_bytes()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/missing.npz" or (self.path == "/flaky.npz" and asked.count(self.path) == 1):
                self.send_error(404 if self.path == "/missing.npz" else 503)
                return
            body = b"<html>Please log in</html>" if self.path == "/login.npz" else content
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:20_000] if self.path == "/cut.npz" else body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def source(*places: str, sha256: str | None = None) -> Source:
    return Source(dataset="tiny", places=list(places), sha256=sha256)


def test_the_keras_cache_comes_first_then_the_next_places(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    places = source("keras:mnist.npz", NOWHERE, f"{server}/good.npz")
    assert fetch([places])[2] == f"{server}/good.npz"
    (tmp_path / "keras/datasets").mkdir(parents=True)
    write_archive(tmp_path / "keras/datasets/mnist.npz", tiny_archive())
    assert fetch([places])[2] == "keras:mnist.npz"


def test_a_download_is_tried_again(server: str) -> None:
    assert read_place(f"{server}/flaky.npz").sha256() == tiny_archive().sha256()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.npz", "cannot download: 404"),
        ("cut.npz", "cannot download: IncompleteRead"),
        ("login.npz", "not a data set: expected a NumPy .npz archive, found no zip file"),
    ],
)
def test_a_download_that_fails_is_one_line_that_names_the_url(server: str, path: str, reason: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read_place(f"{server}/{path}")
    assert str(caught.value).startswith(f"{server}/{path}: {reason}")
    assert "\n" not in str(caught.value)


def test_wrong_content_is_passed_over_and_named(
    server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    right = tiny_archive(train=200)
    write_archive(tmp_path / "right.npz", right)
    wrong, good = f"{server}/good.npz", str(tmp_path / "right.npz")
    archive, _, place = fetch([source(wrong, good, sha256=right.sha256())])
    assert place == good
    assert archive.sha256() == right.sha256()
    assert f"{wrong}: expected arrays with SHA-256 {right.sha256()}" in capsys.readouterr().err


def test_no_place_is_one_line_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught:
        fetch([source(str(tmp_path / "a.npz"), NOWHERE)])
    message = str(caught.value)
    for part in ("params.yaml: data.sources", f"{tmp_path}/a.npz: no such file", f"{NOWHERE}: cannot download"):
        assert part in message
    assert "\n" not in message


def run_fetch(folder: Path, sources: str, *wrapper: str) -> subprocess.CompletedProcess[str]:
    """Runs the stage as DVC does, in `folder`, with these sources in an otherwise real params.yaml."""
    params = TUTORIALS.read_text()
    rest = params[params.index("\npreprocess:") :]
    for pins in ROOT.glob("stages/*/requirements.txt"):
        copy = folder / pins.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pins, copy)
    (folder / "params.yaml").write_text(f"data:\n  sources:\n{sources}\n{rest}")
    return subprocess.run(
        [*wrapper, sys.executable, "-m", "stages.fetch", "out/mnist.npz", "out/mnist.json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_failed_fetch_leaves_a_good_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mnist.npz").write_bytes(b"good")
    done = run_fetch(tmp_path, f"    - {{dataset: MNIST, places: [nowhere.npz, '{NOWHERE}']}}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: data.sources: could not get the data set")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mnist.npz"]
    assert (tmp_path / "out/mnist.npz").read_bytes() == b"good"


def test_the_offline_default_serves_with_a_notice_and_its_own_name(tmp_path: Path) -> None:
    sources = load_params(TUTORIALS).data.sources
    assert sources[-1].places == [EMBEDDED], "the real params.yaml ends with the offline default"
    lines = f"    - {{dataset: MNIST, places: ['{NOWHERE}']}}\n    - {{dataset: digits, places: ['{EMBEDDED}']}}"
    done = run_fetch(tmp_path, lines)
    assert done.returncode == 0
    assert "NOTICE: this is NOT MNIST." in done.stderr
    assert json.loads((tmp_path / "out/mnist.json").read_text())["dataset"] == "digits"


def test_the_description_does_not_depend_on_which_verified_place_served(tmp_path: Path, server: str) -> None:
    write_archive(tmp_path / "here.npz", tiny_archive())
    digest = tiny_archive().sha256()
    lines = f"    - {{dataset: tiny, sha256: '{digest}', places: [here.npz, '{server}/good.npz']}}"
    assert run_fetch(tmp_path, lines).stdout.startswith("tiny, from here.npz")
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "here.npz").unlink()
    assert run_fetch(tmp_path, lines).stdout.startswith(f"tiny, from {server}")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_the_embedded_digits_have_the_form_of_mnist() -> None:
    archive = embedded_digits()
    assert archive.x_train.shape == (1437, 28, 28)
    assert archive.x_test.shape == (360, 28, 28)
    shares = [np.bincount(labels) / len(labels) for labels in (archive.y_train, archive.y_test)]
    np.testing.assert_allclose(*shares, atol=0.002)
    assert archive.sha256() == embedded_digits().sha256()


@pytest.mark.parametrize("shape", [(8, 8), (100, 30), (5, 60)])
def test_a_digit_is_boxed_and_centred_like_mnist(shape: tuple[int, int]) -> None:
    ink = np.zeros(shape, np.uint8)
    ink[1:-1, 1:-2] = 255
    ink[-2, 1] = 128
    result = fit_like_mnist(ink)
    rows, columns = np.flatnonzero(result.any(axis=1)), np.flatnonzero(result.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    weights = result / result.sum()
    for axis in (0, 1):
        centre = (weights.sum(axis=1 - axis) * np.arange(28)).sum()
        assert abs(centre - 13.5) <= 0.75


def test_real_mnist_is_what_params_yaml_pins() -> None:
    path = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets/mnist.npz"
    if not path.is_file():
        pytest.skip(f"no real MNIST at {path}; set KERAS_HOME to the folder that holds datasets/mnist.npz")
    archive = read_archive(path)
    assert archive.x_train.shape == (60_000, 28, 28)
    assert archive.sha256() == load_params(TUTORIALS).data.sources[0].sha256


BAD_PLACES = {
    "encrypted.npz": "is encrypted",
    "method.npz": "not a data set: x_train.npy is compressed in a way that NumPy does not use",
    "raw.npz": "not a data set: the magic string is not correct",
    "header.npz": "not a data set: ",
    "lzma.npz": "not a data set: x_train.npy is compressed in a way that NumPy does not use",
    "names.npz": "found x\\n\\x1b[31mtrain",
    "folder": "no such file",
    "ftp://127.0.0.1/mnist.npz": "expected an http or https URL, or a path; found ftp",
    "file:///etc/passwd": "expected an http or https URL, or a path; found file",
    "http://[::1/mnist.npz": "cannot download",
    "http:///mnist.npz": "cannot download",
    "https://a..b/mnist.npz": "cannot download",
    "~nobody-of-this-name/mnist.npz": "cannot read",
    f"{'long' * 100}.npz": "cannot read: File name too long",
}


@pytest.fixture
def bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of BAD_PLACES, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    write_archive(Path("good.npz"), tiny_archive())
    good = Path("good.npz").read_bytes()
    for name, offset, value in (("encrypted", 8, 1), ("method", 10, 99)):  # of a zip's central directory
        content, at = bytearray(good), -1
        while (at := content.find(b"PK\1\2", at + 1)) >= 0:
            content[at + offset] = value
        while (at := content.find(b"PK\3\4", at + 1)) >= 0:
            content[at + offset - 2] = value
        Path(f"{name}.npz").write_bytes(content)
    Path("header.npz").write_bytes(good.replace(b"'descr': '|u1'", b"'descr': (((((("))
    with zipfile.ZipFile("raw.npz", "w") as file:
        for member in MEMBERS:
            file.writestr(f"{member}.npy", "no array")
    with zipfile.ZipFile("names.npz", "w") as file:
        file.writestr("x\n\033[31mtrain.npy", bytes(1000))
    with zipfile.ZipFile("lzma.npz", "w", zipfile.ZIP_LZMA) as file:
        for member in MEMBERS:
            file.writestr(f"{member}.npy", bytes(1000))
    lzma = Path("lzma.npz").read_bytes()
    Path("lzma.npz").write_bytes(lzma.replace(b"x_train.npy\x09\x04", b"x_train.npy\xff\xff", 1))


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize("place", BAD_PLACES)
def test_a_place_that_cannot_be_read_is_reported_and_the_next_one_serves(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch([source(place, "good.npz")])[2] == "good.npz"
    output = capsys.readouterr().err
    assert output.startswith(f"skipped: {place}: ")
    assert BAD_PLACES[place] in output
    assert output.count("\n") == 1


def test_a_place_without_permission_is_reported_and_the_next_one_serves(tmp_path: Path) -> None:
    write_archive(tmp_path / "good.npz", tiny_archive())
    for name in ("file.npz", "folder/file.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_archive(tmp_path / name, tiny_archive())
    (tmp_path / "file.npz").chmod(0)
    (tmp_path / "folder").chmod(0)
    done = run_fetch(
        tmp_path,
        "    - {dataset: tiny, places: [file.npz, folder/file.npz, good.npz]}",
        *as_an_ordinary_user(),
    )
    (tmp_path / "folder").chmod(0o755)
    assert done.stdout.startswith("tiny, from good.npz")
    assert done.stderr.splitlines()[:2] == [
        "skipped: file.npz: cannot read: Permission denied",
        "skipped: folder/file.npz: cannot read: Permission denied",
    ]


@pytest.fixture
def unreachable(project: Project) -> Project:
    """The built project, whose source is gone, with another source and a change that makes fetch run again."""
    project.edit(lambda params: params["data"]["sources"].append({"dataset": "digits", "places": [EMBEDDED]}))
    (project.path / "data/own/digits.npz").unlink()
    return project


@pytest.mark.parametrize("gone", [[], ["data/raw/mnist.npz"], ["data/raw/mnist.npz", "data/raw/mnist.json"]])
def test_the_data_stay_where_no_place_serves_them_any_more(gone: list[str], unreachable: Project) -> None:
    before = outputs(unreachable)
    if "data/raw/mnist.json" in gone:  # then the pinned digest tells whose the data are
        unreachable.edit(lambda params: params["data"]["sources"][0].update(sha256=tiny_archive().sha256()))
    for name in gone:
        (unreachable.path / name).unlink()
    done = unreachable.run("dvc", "repro")
    assert "skipped: data/own/digits.npz: no such file" in done.stderr
    assert Repro(done.stdout).ran == {"fetch"}
    assert outputs(unreachable) == before


def test_no_other_data_set_takes_the_place_of_data_that_are_gone(unreachable: Project) -> None:
    for name in ("data/raw", ".dvc/cache"):
        shutil.rmtree(unreachable.path / name)
    done = unreachable.run("dvc", "repro", check=False)
    assert "data.sources: could not get the data set (data/own/digits.npz: no such file" in done.stderr
    assert "digits: used in a first run only; to use it now, list it first" in done.stderr
    assert Repro(done.stdout).ran == {"fetch"}
    assert (unreachable.path / "data/models/cnn/10.keras").exists()


def test_another_data_set_is_taken_when_it_is_named_first(unreachable: Project) -> None:
    unreachable.edit(lambda params: params["data"]["sources"].reverse())
    unreachable.run("dvc", "repro", "fetch")
    assert json.loads((unreachable.path / "data/raw/mnist.json").read_text())["dataset"] == "digits"


def test_a_fresh_clone_without_network_takes_the_next_source(unreachable: Project, tmp_path: Path) -> None:
    unreachable.commit("no place serves")
    clone = Project(tmp_path / "clone")
    unreachable.run("git", "clone", "-q", ".", str(clone.path))
    clone.run("dvc", "repro", "fetch")
    assert json.loads((clone.path / "data/raw/mnist.json").read_text())["dataset"] == "digits"
