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

from .conftest import ROOT

LOCKS = ("requirements.txt", "tests/requirements.txt")
ENVIRONMENTS = ("created", "installed", "installed-sweep", "installed-cluster", "installed-dev")
OPTIONAL = ("tools/sweep/requirements.txt", "tools/cluster/requirements.txt")
RESULTS = sorted(ROOT.glob("stages/*/requirements.txt"))
UV = importlib.metadata.version("uv")
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Versions by name in a list of requirements, those in the files that it includes too."""
    text = path.read_text()
    found = {normal(name): version for name, version in PIN.findall(text)}
    for included in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        found |= pins(path.parent / included)
    return found


@pytest.mark.parametrize("lock", LOCKS + OPTIONAL)
def test_every_direct_requirement_is_pinned_with_a_reason_and_locked(lock: str) -> None:
    direct = (ROOT / lock).with_suffix(".in")
    for path in [direct, *RESULTS]:
        for line in path.read_text().splitlines():
            assert re.match(r"#|-[rc] |[\w.-]+(\[\w+\])?==[\w.]+ +# \w", line), f"{path}: {line}"
    assert pins(direct).items() <= pins(ROOT / lock).items()


@pytest.mark.parametrize(("lock", "more_than"), [*((lock, 50) for lock in LOCKS), *((lock, 10) for lock in OPTIONAL)])
def test_everything_locked_has_hashes(lock: str, more_than: int) -> None:
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())[1:]
    assert len(entries) > more_than
    assert [entry for entry in entries if "--hash=sha256:" not in entry or not PIN.match(entry)] == []


@pytest.mark.parametrize(("lock", "more_than"), [(LOCKS[1], 10), *((lock, 3) for lock in OPTIONAL)])
def test_a_further_lock_has_the_same_version_of_what_both_list(lock: str, more_than: int) -> None:
    main, further = pins(ROOT / LOCKS[0]), pins(ROOT / lock)
    both = main.keys() & further.keys()
    assert len(both) > more_than
    assert {name: main[name] for name in both} == {name: further[name] for name in both}


def test_the_versions_that_decide_results_are_those_installed() -> None:
    assert {path.parent.name for path in RESULTS} == {"common", "data", "models", "results"}
    for path in RESULTS:
        assert f"-r {path.relative_to(ROOT)}\n" in (ROOT / "requirements.in").read_text()
        for name, version in pins(path).items():
            assert importlib.metadata.version(name) == version


class Registry:
    """A package index on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"

    def upload(self, name: str, version: str, tag: str = "py3-none-any", needs: str = "", script: str = "") -> None:
        """Adds a wheel, of an empty module or a script."""
        about = f"{name}-{version}.dist-info"
        members = {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + (f"Requires-Dist: {needs}\n" if needs else ""),
            f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{name}-{version}.data/scripts/{name}" if script else f"{name}.py": script or f"version = '{version}'\n",
        }
        members[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*members, f"{about}/RECORD"])
        page = self.folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        wheel = page.with_name(f"{name}-{version}-{tag}.whl")
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in members.items():
                member = zipfile.ZipInfo(path)
                member.external_attr = 0o100755 << 16
                archive.writestr(member, text)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with page.open("a") as file:
            file.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')


class Small:
    """A project that needs a package `snow`, and for its tests `sled`, which needs snow too; with the real Makefile."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self.path = path
        makefile = (ROOT / "Makefile").read_text()
        scripts = set(re.findall(r"\btools/\w+\.py", makefile))
        for script in scripts:
            (path / script).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / script, path / script)
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, path)
        checks = makefile.partition("\ncheck:")[2].partition("\n\n")[0]
        for module in re.findall(r"python -m (\S+)", checks):  # what else `make check` checks is in order
            file = path / (module.replace(".", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        (path / "tests").mkdir()
        (path / "requirements.in").write_text(f"uv=={UV}\nsnow==1.0\n")
        (path / "tests/requirements.in").write_text("-c ../requirements.txt\nsled==1.0\n")
        for lock in OPTIONAL:  # of nothing
            (path / lock).parent.mkdir(parents=True)
            (path / lock).with_suffix(".in").write_text("-c ../../requirements.txt\n")
            (path / lock).touch()
        (path / "requirements.txt").write_text(f"uv=={UV}\n")
        (path / "tests/requirements.txt").touch()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        ours = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": registry.url, "UV_HTTP_RETRIES": "0"}
        self.environment = inherited | ours
        self.options: list[str] = []
        self.forget()

    def forget(self) -> None:
        """Another machine: uv remembers nothing of the registry."""
        self.environment["UV_CACHE_DIR"] = str(self.path / f"cache{len(list(self.path.glob('cache*')))}")
        Path(self.environment["UV_CACHE_DIR"]).mkdir()

    def share_environment(self) -> None:
        """Has the environment that runs the tests for its own."""
        (self.path / ".venv").symlink_to(sys.prefix)
        self.options = [f"--assume-old=.venv/{name}" for name in ENVIRONMENTS]

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *self.options, *arguments]
        return subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False)

    def locks(self) -> list[str]:
        return [(self.path / lock).read_text() for lock in LOCKS]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "registry")
    registry.upload("uv", UV, script=f'#!/bin/sh\nexec "{Path(sys.prefix, "bin/uv")}" "$@"\n')
    registry.upload("snow", "1.0")
    registry.upload("sled", "1.0", needs="snow")
    yield registry
    registry.server.shutdown()


@pytest.fixture
def small(registry: Registry, tmp_path: Path) -> Small:
    (tmp_path / "a folder").mkdir()
    return Small(tmp_path / "a folder", registry)


@pytest.fixture
def locked(small: Small) -> Small:
    small.share_environment()
    done = small.make("lock")
    assert done.returncode == 0, done.stderr
    return small


def test_make_check_tells_a_stale_lock_in_one_line(locked: Small, registry: Registry) -> None:
    assert locked.make("check").returncode == 0
    before = locked.locks()
    registry.upload("snow", "1.1")
    locked.forget()
    for lock in LOCKS:
        direct = (locked.path / lock).with_suffix(".in")
        text = direct.read_text()
        direct.write_text(text.replace("snow==1.0", "snow==1.1") if "snow" in text else text + "uv\n")
        done = locked.make("check")
        assert done.returncode != 0
        told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert told == [f"error: {lock}: out of date with {lock.replace('.txt', '.in')}; run: make lock"]
        direct.write_text(text)
    assert locked.locks() == before


def test_a_direct_requirement_that_does_not_exist_is_told_in_one_line(locked: Small) -> None:
    (locked.path / "requirements.in").write_text(f"uv=={UV}\nsnow==7.0\n")
    done = locked.make("check")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(told) == 1
    assert told[0].startswith("error: requirements.txt: cannot be made from requirements.in: ")
    assert "there is no version of snow==7.0" in told[0]


def test_a_damaged_lock_is_named_and_not_its_copy(locked: Small) -> None:
    with (locked.path / "requirements.txt").open("a") as lock:
        lock.write("snow===one\n")
    done = locked.make("check")
    assert done.returncode != 0
    assert "error: requirements.txt: cannot be made from requirements.in: " in done.stderr
    assert "in `requirements.txt` at" in done.stderr
    assert tempfile.gettempdir() not in done.stderr.replace(str(locked.path), "")


def test_what_is_uploaded_later_changes_no_lock_until_asked(locked: Small, registry: Registry) -> None:
    """Another wheel of a locked version, and a newer version of what is not pinned directly."""
    (locked.path / "requirements.in").write_text(f"uv=={UV}\nsled==1.0\n")  # snow comes with it
    assert locked.make("lock").returncode == 0
    before = locked.locks()
    assert "snow==1.0 " in before[0]
    registry.upload("snow", "1.0", tag="cp313-cp313-macosx_11_0_arm64")
    registry.upload("sled", "1.0", tag="cp313-cp313-win_amd64", needs="snow")
    registry.upload("snow", "1.2")
    locked.forget()
    assert locked.make("check").returncode == 0
    assert locked.make("lock").returncode == 0
    assert locked.locks() == before

    assert locked.make("lock", "UPGRADE=sled").returncode == 0
    assert "snow==1.0 " in locked.locks()[0]
    assert locked.locks()[0].count("--hash") == before[0].count("--hash") + 1
    assert locked.make("lock", "UPGRADE=1").returncode == 0
    assert all("snow==1.2 " in lock for lock in locked.locks())


def test_make_check_needs_no_network_once_the_registry_was_asked(locked: Small, registry: Registry) -> None:
    registry.server.finish_request = lambda *_: None  # hangs up, and keeps its port, which nobody else then gets
    assert locked.make("check").returncode == 0
    locked.forget()
    done = locked.make("check")
    assert done.returncode != 0
    assert done.stderr.startswith("error: requirements.txt: cannot be made from requirements.in: ")
    assert registry.url in done.stderr


def test_the_environment_comes_from_the_registry_that_is_configured(locked: Small, registry: Registry) -> None:
    """By pip and uv alike, in a folder with a space in its name, with pip's settings or uv's; checked by hashes."""
    (locked.path / ".venv").unlink()
    locked.options = [f"PYTHON={Path(sys.base_prefix, 'bin/python3')}"]
    del locked.environment["PIP_INDEX_URL"]
    (locked.path / "pip.conf").write_text(f"[global]\nindex-url = {registry.url}\n")
    python = str(locked.path / ".venv/bin/python")
    for variable, value in {
        "PIP_INDEX_URL": registry.url,
        "UV_INDEX_URL": registry.url,
        "PIP_CONFIG_FILE": str(locked.path / "pip.conf"),
    }.items():
        before = dict(locked.environment)
        locked.environment[variable] = value
        locked.forget()
        done = locked.make(".venv/installed")
        assert done.returncode == 0, done.stderr
        code = "import snow, tools.environment; print(snow.version)"  # the project is found, too
        assert subprocess.check_output([python, "-P", "-c", code], cwd="/", text=True) == "1.0\n"
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "uv", "snow"], check=True)
        (locked.path / ".venv/installed").unlink()
        if variable != "PIP_CONFIG_FILE":
            locked.environment = before

    assert locked.make(".venv/installed").returncode == 0
    sled = registry.folder / "simple/sled/sled-1.0-py3-none-any.whl"
    with zipfile.ZipFile(sled, "a") as archive:
        archive.writestr("sled.pth", "import os")
    page = sled.with_name("index.html")
    page.write_text(re.sub("#sha256=[0-9a-f]+", "", page.read_text()))
    locked.forget()
    done = locked.make(".venv/installed-dev")
    assert done.returncode != 0
    assert "Hash mismatch for `sled==1.0`" in done.stderr
    assert not (locked.path / ".venv/installed-dev").exists()


ELSEWHERE = {  # lines of pip.conf below [global], and variables; {} is a folder
    "user": ("user = true", {}),
    "prefix": ("[install]\nprefix = {}", {}),
    "target": ("target = {}", {}),
    "variables": ("", {"PIP_USER": "1", "PIP_TARGET": "{}", "PIP_PREFIX": "{}"}),
    "root": ("[install]\nroot = {}", {"PIP_ROOT": "{}"}),
    "other versions": ("constraint = {}.txt\nno-binary = :all:", {"PIP_REQUIREMENT": "{}.txt"}),
    "nothing": ("quiet = 3\nlog = /nowhere/log\ndry-run = true", {"PIP_PYTHON": "/nowhere/python"}),
}


def test_the_environment_is_installed_here_whatever_pip_is_told(locked: Small, registry: Registry) -> None:
    (locked.path / ".venv").unlink()
    locked.options = [f"PYTHON={Path(sys.base_prefix, 'bin/python3')}"]
    del locked.environment["PIP_INDEX_URL"]
    elsewhere, config = locked.path / "elsewhere", locked.path / "pip.conf"
    elsewhere.with_suffix(".txt").write_text("uv==0.1\n")
    python, before = str(locked.path / ".venv/bin/python"), dict(locked.environment)
    for name, (text, variables) in ELSEWHERE.items():
        config.write_text(f"[global]\nindex-url = {registry.url}\n{text.format(elsewhere)}\n")
        locked.environment = before | {key: value.format(elsewhere) for key, value in variables.items()}
        locked.environment["PIP_CONFIG_FILE"] = str(config)
        done = locked.make(".venv/installed")
        assert done.returncode == 0, f"{name}: {done.stderr}"
        code = "import snow; print(snow.__file__)"
        assert (locked.path / ".venv/bin/uv").exists()
        assert str(locked.path / ".venv/lib") in subprocess.check_output([python, "-c", code], text=True)
        assert not elsewhere.exists()
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "uv", "snow"], env=before, check=True)
        (locked.path / ".venv/installed").unlink()


def test_settings_that_pip_cannot_read_are_one_line(locked: Small) -> None:
    (locked.path / "pip.conf").write_text("user = true\n")
    locked.environment["PIP_CONFIG_FILE"] = str(locked.path / "pip.conf")
    told = [line for line in locked.make("lock").stderr.splitlines() if not line.startswith("make")]
    assert len(told) == 1
    assert told[0].startswith(
        "error: pip cannot read its settings: Configuration file could not be loaded. File contains"
    )


def test_a_project_without_the_pin_of_uv_is_told_in_one_line(small: Small) -> None:
    small.share_environment()
    subprocess.run(["git", "init", "-q"], cwd=small.path, check=True)
    subprocess.run(["git", "add", "requirements.txt"], cwd=small.path, check=True)
    before = (small.path / "requirements.txt").read_bytes()
    (small.path / "requirements.txt").unlink()
    done = small.make("lock")
    assert done.stderr.splitlines()[0] == (
        "error: requirements.txt: expected a line uv==…, found none; run: git restore requirements.txt"
    )
    subprocess.run(["git", "restore", "requirements.txt"], cwd=small.path, check=True)
    assert (small.path / "requirements.txt").read_bytes() == before
