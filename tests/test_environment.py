"""The locked requirements: what is pinned where; `make lock`, `make check` and installing, from a small registry."""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from stages.support.versions import check_versions, other_version, pinned
from tools import environment

from .conftest import ROOT

LOCKS = ("requirements.txt", "tools/cluster/requirements.txt", "tools/gpu/requirements.txt", "tests/requirements.txt")
RESULTS = {folder: ROOT / f"stages/{folder}/requirements.txt" for folder in ("common", "data", "models", "results")}
UV = importlib.metadata.version("uv")
COPIED = ("Makefile", "tools/environment.py", "tools/check_python.py")


def test_the_versions_that_decide_results_are_those_installed() -> None:
    assert sorted(ROOT.glob("stages/*/requirements.txt")) == sorted(RESULTS.values())
    for folder, path in RESULTS.items():
        assert f"-r stages/{folder}/requirements.txt\n" in (ROOT / LOCKS[0]).with_suffix(".in").read_text()
        assert other_version(path.read_text()) == ""


def test_pins_with_extras_and_markers_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "keras==3.15.1  # models\ntensorflow[and-cuda]==2.21.0; sys_platform == 'linux'\n# a==1\n-r b==2\n"
    assert pinned(text) == {"keras": "3.15.1", "tensorflow": "2.21.0"}
    right = f"pytest=={importlib.metadata.version('pytest')}\n"
    assert other_version(f"{right}uv[x]==0.1\n") == f"expected uv 0.1, found {UV} installed"
    assert other_version("no-such-package==1\n") == "expected no-such-package 1, found none installed"
    monkeypatch.chdir(tmp_path)
    for folder, text in (("right", right), ("wrong", "uv==0.1\n")):
        (tmp_path / "stages" / folder).mkdir(parents=True)
        (tmp_path / "stages" / folder / "requirements.txt").write_text(text)
    check_versions("right")
    with pytest.raises(PipelineError, match=r"^stages/wrong/requirements.txt: expected uv 0.1, found .*; run: make"):
        check_versions("right", "wrong")


class Small:
    """A project with the real Makefile that needs `snow`, and for its tests `sled`; and a registry that has them."""

    def __init__(self, path: Path) -> None:
        self.path, self.wheels = path, path / "registry/simple"
        handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=path / "registry"))
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        uv = self.upload("uv", UV, script=f'#!/bin/sh\nexec "{Path(sys.prefix, "bin/uv")}" "$@"\n')
        self.upload("snow", "1.0")
        self.upload("sled", "1.0", needs="snow")
        for name in COPIED:
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, path / name)
        self.need(f"uv=={UV}", "snow==1.0")
        self.need("-c ../../requirements.txt", lock=LOCKS[1])
        self.need("-c ../../requirements.txt", lock=LOCKS[2])
        self.need("-c ../requirements.txt", "sled==1.0", lock=LOCKS[3])
        (path / LOCKS[0]).write_text(f"uv=={UV} --hash=sha256:{hashlib.sha256(uv.read_bytes()).hexdigest()}\n")
        (path / ".venv").symlink_to(sys.prefix)  # that of these tests, which is complete
        self.options = ["--assume-old=.venv/created"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        self.plain = inherited | {"PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0"}
        self.environment = self.plain | {"PIP_INDEX_URL": self.url}
        self.forget()

    def upload(self, name: str, version: str, tag: str = "py3-none-any", needs: str = "", script: str = "") -> Path:
        """Adds a wheel, of an empty module or a script."""
        about = f"{name}-{version}.dist-info"
        members = {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + (f"Requires-Dist: {needs}\n" if needs else ""),
            f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{name}-{version}.data/scripts/{name}" if script else f"{name}.py": script or "",
        }
        members[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*members, f"{about}/RECORD"])
        wheel = self.wheels / name / f"{name}-{version}-{tag}.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in members.items():
                (member := zipfile.ZipInfo(path)).external_attr = 0o100755 << 16
                archive.writestr(member, text)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with wheel.with_name("index.html").open("a") as page:
            page.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')
        return wheel

    def need(self, *direct: str, lock: str = LOCKS[0]) -> None:
        (path := (self.path / lock).with_suffix(".in")).parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in direct))
        (self.path / lock).touch()

    def forget(self) -> None:
        """Is another machine, on which uv has no cache."""
        self.environment["UV_CACHE_DIR"] = tempfile.mkdtemp(dir=self.path)

    def make(self, *arguments: str, error: str = "") -> str:
        return self.run("make", *self.options, *arguments, error=error)

    def check(self, error: str = "") -> str:
        """Runs what `make check` ends with."""
        return self.run(".venv/bin/python", "-I", "tools/environment.py", "check", error=error)

    def run(self, *command: str, error: str = "") -> str:
        """Runs a command, which succeeds or ends with a line; returns what it printed as errors."""
        done = subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == bool(error), done.stderr
        assert error in done.stderr
        return done.stderr

    def locks(self) -> list[str]:
        return [(self.path / lock).read_text() for lock in LOCKS]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """The small project, locked, in a folder with a space in its name."""
    (path := tmp_path / "a folder").mkdir()
    small = Small(path)
    small.make("lock")
    yield small
    small.server.shutdown()
    small.server.server_close()


def test_make_check_names_a_lock_that_is_stale_or_cannot_be_made_and_needs_no_network(small: Small) -> None:
    before = small.locks()
    small.upload("snow", "1.1")
    small.forget()
    for lock in (LOCKS[0], LOCKS[3]):
        direct = (small.path / lock).with_suffix(".in")
        text = direct.read_text()
        direct.write_text(text.replace("snow==1.0", "snow==1.1") if "snow" in text else f"{text}uv\n")
        small.check(error=f"error: {lock}: out of date with {lock[:-4]}.in; run: make lock")
        direct.write_text(text)
    assert small.locks() == before

    cannot = "error: requirements.txt: cannot be made; see above"
    small.need(f"uv=={UV}", "snow==7.0")
    assert "there is no version of snow==7.0" in small.check(error=cannot)
    small.need(f"uv=={UV}", "snow==1.0")
    small.server.finish_request = lambda *_: None  # hangs up
    small.check()
    small.forget()
    assert small.url in small.check(error=cannot)


def test_what_is_uploaded_later_changes_no_lock_until_it_is_upgraded(small: Small) -> None:
    """Another wheel of a locked version, and a newer version of what is not pinned directly."""
    small.need(f"uv=={UV}", "sled==1.0")  # snow comes with it
    small.make("lock")
    before = small.locks()
    small.upload("snow", "1.0", tag="cp313-cp313-macosx_11_0_arm64")
    small.upload("sled", "1.0", tag="cp313-cp313-win_amd64", needs="snow")
    small.upload("snow", "1.2")
    small.forget()
    small.make("lock")
    assert small.locks() == before
    small.make("lock", "UPGRADE=sled")
    assert "snow==1.0 " in small.locks()[0]
    assert small.locks()[0].count("--hash") == before[0].count("--hash") + 1
    small.make("lock", "UPGRADE=1")
    assert all("snow==1.2 " in small.locks()[index] for index in (0, 3))


@pytest.mark.parametrize(("home", "no_cache"), [("", None), ("no/such/home", "1")])
def test_uv_keeps_no_cache_where_the_home_cannot_be_written(
    home: str, no_cache: str | None, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "HOME": str(tmp_path / home)})
    environment.configure()
    assert os.environ.get("UV_NO_CACHE") == no_cache


# Lines of pip.conf and variables, where {url}, {wheels} and {elsewhere} are filled in
CONFIGURED = [
    ("", {"UV_INDEX_URL": "{url}"}),
    ("", {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "{wheels}/uv/ {wheels}/snow/"}),
    (
        "[global]\nindex-url = http://127.0.0.1:9\nuser = true\ntarget = {elsewhere}\n"
        "[install]\nindex-url = {url}\nprefix = {elsewhere}\nconstraint = {elsewhere}\nno-binary = :all:",
        {"PIP_ROOT": "{elsewhere}", "PIP_REQUIREMENT": "{elsewhere}", "PIP_USER": "1"},
    ),
]


def test_the_environment_is_installed_here_from_where_pip_or_uv_is_configured_to(small: Small) -> None:
    (small.path / ".venv").unlink()
    small.options = [f"PYTHON={Path(sys.base_prefix, 'bin/python3')}"]
    python, config, elsewhere = small.path / ".venv/bin/python", small.path / "pip.conf", small.path / "elsewhere"
    for lines, variables in CONFIGURED:
        fill = partial(str.format, url=small.url, wheels=small.wheels.as_uri(), elsewhere=elsewhere)
        config.write_text(fill(lines))
        small.environment = small.plain | {"PIP_CONFIG_FILE": str(config)}
        small.environment |= {variable: fill(value) for variable, value in variables.items()}
        small.forget()
        small.make(".venv/installed")
        code = "import snow, tools.environment; print(snow.__file__)"  # the project is importable, too
        where = subprocess.check_output([python, "-P", "-c", code], cwd="/", text=True)
        assert where.startswith(str(small.path / ".venv/lib"))
        assert (small.path / ".venv/bin/uv").exists()
        assert not elsewhere.exists()
        subprocess.run([python, "-m", "pip", "uninstall", "-qy", "uv", "snow"], env=small.plain, check=True)
        (small.path / ".venv/installed").unlink()
    config.write_text("user = true\n")
    small.make(".venv/installed", error="error: pip cannot read its settings; see above")

    small.environment = small.plain | {"PIP_INDEX_URL": small.url}
    sled = next(small.wheels.glob("sled/*.whl"))
    with zipfile.ZipFile(sled, "a") as archive:
        archive.writestr("sled.pth", "import os")
    page = sled.with_name("index.html")
    page.write_text(re.sub("#sha256=[0-9a-f]+", "", page.read_text()))
    small.make(".venv/installed-dev", error="Hash mismatch for `sled==1.0`")
    assert not (small.path / ".venv/installed-dev").exists()
