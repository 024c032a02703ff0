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

from stages.support.versions import other_version, pinned

from .conftest import ROOT

LOCKS = ("requirements.txt", "tools/cluster/requirements.txt", "tests/requirements.txt")
RESULTS = {folder: ROOT / f"stages/{folder}/requirements.txt" for folder in ("common", "data", "models", "results")}
UV = importlib.metadata.version("uv")
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", re.MULTILINE)
INSTALLED = ("installed", "installed-cluster", "installed-dev")


def pins(path: Path) -> dict[str, str]:
    """Versions by name in a list of requirements, those in the files that it includes too."""
    text = path.read_text()
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}
    for included in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        versions |= pins(path.parent / included)
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_a_reason_and_locked_with_hashes(lock: str) -> None:
    direct, first = (ROOT / lock).with_suffix(".in"), pins(ROOT / LOCKS[0])
    for path in [direct, *RESULTS.values()]:
        for line in path.read_text().splitlines():
            assert re.match(r"#|-[rc] |[\w.-]+(\[\w+\])?==[\w.]+ +# \w", line), f"{path}: {line}"
    locked = pins(ROOT / lock)
    assert pins(direct).items() <= locked.items()
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())[1:]
    assert len(entries) == len(locked)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert {name: locked[name] for name in locked.keys() & first}.items() <= first.items()


def test_the_versions_that_decide_results_are_those_installed() -> None:
    assert sorted(ROOT.glob("stages/*/requirements.txt")) == sorted(RESULTS.values())
    for folder, path in RESULTS.items():
        assert f"-r stages/{folder}/requirements.txt\n" in (ROOT / LOCKS[0]).with_suffix(".in").read_text()
        assert {name: importlib.metadata.version(name) for name in pins(path)} == pins(path)


def test_pins_with_extras_and_markers_are_checked() -> None:
    text = "keras==3.15.1  # models\ntensorflow[and-cuda]==2.21.0; sys_platform == 'linux'\n# a==1\n-r b==2\n"
    assert pinned(text) == {"keras": "3.15.1", "tensorflow": "2.21.0"}
    assert other_version(f"pytest=={importlib.metadata.version('pytest')}\nuv[x]==0.1\n") == (
        f"expected uv 0.1, found {UV} installed"
    )
    assert other_version("no-such-package==1\n") == "expected no-such-package 1, found none installed"


class Small:
    """A project with the real Makefile that needs `snow`, and for its tests `sled`; and a registry that has them."""

    def __init__(self, path: Path) -> None:
        self.path, self.wheels = path, path / "registry/simple"
        handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=path / "registry"))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        self.upload("uv", UV, script=f'#!/bin/sh\nexec "{Path(sys.prefix, "bin/uv")}" "$@"\n')
        self.upload("snow", "1.0")
        self.upload("sled", "1.0", needs="snow")
        for name in ("Makefile", "pyproject.toml", "tools/environment.py", "tools/check_python.py"):
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, path / name)
        for module in re.findall(r"python -m (\S+) --check", (ROOT / "Makefile").read_text()):  # these are in order
            (file := path / (module.replace(".", "/") + ".py")).parent.mkdir(exist_ok=True)
            file.touch()
        shutil.copytree(ROOT / ".github/workflows", path / ".github/workflows")
        (path / "stages").mkdir(exist_ok=True)
        (path / "stages/__init__.py").touch()
        self.need(f"uv=={UV}", "snow==1.0")
        self.need("-c ../../requirements.txt", lock=LOCKS[1])
        self.need("-c ../requirements.txt", "sled==1.0", lock=LOCKS[2])
        uv = next(self.wheels.glob("uv/*.whl")).read_bytes()
        (path / LOCKS[0]).write_text(f"uv=={UV} --hash=sha256:{hashlib.sha256(uv).hexdigest()}\n")
        (path / ".venv").symlink_to(sys.prefix)  # that of these tests, which is complete
        self.options = [f"--assume-old=.venv/{name}" for name in ("created", *INSTALLED)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        self.plain = inherited | {"PIP_CONFIG_FILE": os.devnull, "UV_HTTP_RETRIES": "0"}
        self.environment = self.plain | {"PIP_INDEX_URL": self.url}
        self.forget()

    def upload(self, name: str, version: str, tag: str = "py3-none-any", needs: str = "", script: str = "") -> None:
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

    def need(self, *direct: str, lock: str = LOCKS[0]) -> None:
        (path := (self.path / lock).with_suffix(".in")).parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in direct))
        (self.path / lock).touch()

    def forget(self) -> None:
        """Is another machine, on which uv has no cache."""
        self.environment["UV_CACHE_DIR"] = tempfile.mkdtemp(dir=self.path)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *self.options, *arguments]
        return subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False)

    def error(self, target: str) -> str:
        """The one line that a target that fails prints."""
        done = self.make(target)
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert done.returncode
        return line

    def locks(self) -> list[str]:
        return [(self.path / lock).read_text() for lock in LOCKS]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """The small project, locked, in a folder with a space in its name."""
    (path := tmp_path / "a folder").mkdir()
    small = Small(path)
    done = small.make("lock")
    assert done.returncode == 0, done.stderr
    yield small
    small.server.shutdown()
    small.server.server_close()


def test_make_check_names_a_lock_that_is_stale_or_cannot_be_made(small: Small) -> None:
    assert small.make("check").returncode == 0
    before = small.locks()
    small.upload("snow", "1.1")
    small.forget()
    for lock in LOCKS:
        direct = (small.path / lock).with_suffix(".in")
        text = direct.read_text()
        direct.write_text(text.replace("snow==1.0", "snow==1.1") if "snow" in text else f"{text}uv\n")
        stale = f"error: {lock}: out of date with {lock.replace('.txt', '.in')}; run: make lock"
        assert small.error("check") == stale
        direct.write_text(text)
    assert small.locks() == before

    cannot = "error: requirements.txt: cannot be made from requirements.in: "
    small.need(f"uv=={UV}", "snow==7.0")
    assert re.match(rf"{cannot}.* there is no version of snow==7.0", small.error("check"))
    (small.path / LOCKS[0]).write_text(f"{before[0]}snow===one\n")
    assert re.match(rf"{cannot}.* in `requirements.txt` at", small.error("check")), "not its copy"
    (small.path / LOCKS[0]).write_text("snow==1.0\n")
    assert small.error("lock").endswith(
        ": requirements.txt: expected a line uv==…, found none; run: git restore requirements.txt"
    )


def test_make_check_needs_no_network_once_uv_has_a_cache(small: Small) -> None:
    small.server.finish_request = lambda *_: None  # hangs up
    assert small.make("check").returncode == 0
    small.forget()
    assert re.match(
        rf"error: requirements.txt: cannot be made from requirements.in: .*{small.url}", small.error("check")
    )


def test_what_is_uploaded_later_changes_no_lock_until_it_is_upgraded(small: Small) -> None:
    """Another wheel of a locked version, and a newer version of what is not pinned directly."""
    small.need(f"uv=={UV}", "sled==1.0")  # snow comes with it
    assert small.make("lock").returncode == 0
    before = small.locks()
    small.upload("snow", "1.0", tag="cp313-cp313-macosx_11_0_arm64")
    small.upload("sled", "1.0", tag="cp313-cp313-win_amd64", needs="snow")
    small.upload("snow", "1.2")
    small.forget()
    for target in ("check", "lock"):
        assert small.make(target).returncode == 0
        assert small.locks() == before
    assert small.make("lock", "UPGRADE=sled").returncode == 0
    assert "snow==1.0 " in small.locks()[0]
    assert small.locks()[0].count("--hash") == before[0].count("--hash") + 1
    assert small.make("lock", "UPGRADE=1").returncode == 0
    assert all("snow==1.2 " in small.locks()[index] for index in (0, 2))


# Lines of pip.conf and variables, where {url}, {wheels} and {elsewhere} are filled in
CONFIGURED = {
    "pip's variable": ("", {"PIP_INDEX_URL": "{url}"}),
    "uv's variable": ("", {"UV_INDEX_URL": "{url}"}),
    "a folder of packages, without network": (
        "",
        {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "{wheels}/uv/ {wheels}/snow/"},
    ),
    "pip.conf, which installs elsewhere": (
        "[global]\nindex-url = http://127.0.0.1:9\nuser = true\ntarget = {elsewhere}\nquiet = 3\nlog = /nowhere/log\n"
        "[install]\nindex-url = {url}\nprefix = {elsewhere}\nconstraint = {elsewhere}\nno-binary = :all:",
        {"PIP_ROOT": "{elsewhere}", "PIP_REQUIREMENT": "{elsewhere}", "PIP_PYTHON": "/nowhere/python"},
    ),
}


def test_the_environment_is_installed_here_from_where_pip_or_uv_is_configured_to(small: Small) -> None:
    (small.path / ".venv").unlink()
    small.options = [f"PYTHON={Path(sys.base_prefix, 'bin/python3')}"]
    python, config, elsewhere = small.path / ".venv/bin/python", small.path / "pip.conf", small.path / "elsewhere"
    for name, (lines, variables) in CONFIGURED.items():
        fill = partial(str.format, url=small.url, wheels=small.wheels.as_uri(), elsewhere=elsewhere)
        config.write_text(fill(lines))
        small.environment = small.plain | {"PIP_CONFIG_FILE": str(config)}
        small.environment |= {variable: fill(value) for variable, value in variables.items()}
        small.forget()
        done = small.make(".venv/installed")
        assert done.returncode == 0, f"{name}: {done.stderr}"
        code = "import snow, tools.environment; print(snow.__file__)"  # the project is importable, too
        where = subprocess.check_output([python, "-P", "-c", code], cwd="/", text=True)
        assert where.startswith(str(small.path / ".venv/lib"))
        assert (small.path / ".venv/bin/uv").exists()
        assert not elsewhere.exists()
        subprocess.run([python, "-m", "pip", "uninstall", "-qy", "uv", "snow"], env=small.plain, check=True)
        (small.path / ".venv/installed").unlink()

    config.write_text("user = true\n")
    assert small.error(".venv/installed").startswith(
        "error: pip cannot read its settings: Configuration file could not"
    )

    small.environment = small.plain | {"PIP_INDEX_URL": small.url}
    sled = next(small.wheels.glob("sled/*.whl"))
    with zipfile.ZipFile(sled, "a") as archive:
        archive.writestr("sled.pth", "import os")
    page = sled.with_name("index.html")
    page.write_text(re.sub("#sha256=[0-9a-f]+", "", page.read_text()))
    done = small.make(".venv/installed-dev")
    assert done.returncode
    assert "Hash mismatch for `sled==1.0`" in done.stderr
    assert not (small.path / ".venv/installed-dev").exists()
