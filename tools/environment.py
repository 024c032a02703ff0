"""Writes, checks and installs the locked requirements, by the uv that requirements.txt pins.

Runs before anything is installed, so it needs the standard library alone. uv gets the registry that pip is configured
for (pip.conf, `PIP_INDEX_URL`), and pip, which installs uv, the one that uv is configured for (`UV_INDEX_URL`); where
both are, each keeps its own. Other settings of pip, such as `user`, `prefix` and `target`, would install elsewhere than
into .venv, or something else. They do not count.
"""

import argparse
import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The first constrains the others
LOCKS = (
    Path("requirements.txt"),
    Path("tools/sweep/requirements.txt"),
    Path("tools/cluster/requirements.txt"),
    Path("tests/requirements.txt"),
)
COMPILE = ("pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes")
COMPILE += ("--custom-compile-command", "make lock", "--quiet")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
UV = Path(sys.executable).with_name("uv")
# pip's settings, and the variables that tell uv the same
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("ALL_PROXY",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
# pip's further settings that say where packages come from
SOURCES = {"extra-index-url", "no-index", "find-links", "client-cert", "keyring-provider", "retries"}
SOURCES |= {"cache-dir", "no-cache-dir", "use-feature", "use-deprecated"}  # the last two: the system's certificates
# For `pip config list`, which has these options, too: settings for other commands must not hide any of the list
ALL_OF_THEM = dict.fromkeys(("PIP_USER", "PIP_SITE", "PIP_GLOBAL", "PIP_QUIET", "PIP_VERBOSE"), "0")
ALL_OF_THEM["PIP_LOG"] = os.devnull


def pip_settings() -> dict[str, str]:
    """What pip's configuration files and variables set of `SETTINGS` and `SOURCES`; its variables win."""
    environment = without_pip() | ALL_OF_THEM
    if "PIP_CONFIG_FILE" in os.environ:
        environment["PIP_CONFIG_FILE"] = os.environ["PIP_CONFIG_FILE"]
    done = subprocess.run([*PIP, "config", "list"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: pip cannot read its settings: {' '.join(done.stderr.split())}")
    found = [re.fullmatch(r"(global|install)\.([\w-]+)=('.*'|\".*\")", line) for line in done.stdout.splitlines()]
    ranked = sorted((match for match in found if match), key=lambda match: match[1])  # 'install' wins over 'global'
    settings = {match[2]: ast.literal_eval(match[3]) for match in ranked}
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {name: value for name, value in settings.items() if name in SETTINGS or name in SOURCES}


def without_pip() -> dict[str, str]:
    """The environment without pip's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}


def uv(*arguments: str | Path, settings: dict[str, str], **options: object) -> subprocess.CompletedProcess:
    """Runs uv for this Python, with pip's settings; `options` are those of `subprocess.run`."""
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never")
    for name, variables in SETTINGS.items():
        if name in settings and not any(variable in os.environ for variable in variables):
            environment[variables[0]] = settings[name]
    cache = subprocess.run([UV, "cache", "dir"], env=environment, capture_output=True, text=True, check=False)
    if not writable(Path(cache.stdout.strip())):
        environment["UV_NO_CACHE"] = "1"  # as pip does without a home
    return subprocess.run([UV, *arguments, "--python", sys.executable], env=environment, check=False, **options)


def writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def install_uv(settings: dict[str, str]) -> None:
    """Installs the pinned uv by pip, checked by its hashes."""
    text = LOCKS[0].read_text() if LOCKS[0].exists() else ""
    pin = re.search(r"^uv==([\w.]+).*\n(?:[ \t].*\n)*", text, re.MULTILINE)
    if pin is None:
        sys.exit(f"error: {LOCKS[0]}: expected a line uv==…, found none; run: git restore {LOCKS[0]}")
    try:
        found = importlib.metadata.version("uv")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found != pin[1]:
        index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
        options = ["--index-url", index] if index and "index-url" not in settings else []
        with tempfile.TemporaryDirectory() as folder:
            alone = Path(folder, "uv.txt")
            alone.write_text(pin[0])
            command = [*PIP, "install", "--quiet", "--require-hashes", *options, "-r", alone]
            ours = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings.items()}
            environment = without_pip() | {"PIP_CONFIG_FILE": os.devnull} | ours
            done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            sys.exit(f"error: uv {pin[1]}: pip cannot install it; see above")


def install(lock: Path, settings: dict[str, str]) -> None:
    """Installs what a lock lists, each file checked by its hashes; what else is installed stays."""
    options = [] if sys.stderr.isatty() else ["--quiet"]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options += ["--no-index"] + [f"--find-links={place}" for place in settings.get("find-links", "").split()]
    done = uv("pip", "install", "--require-hashes", "--compile-bytecode", *options, "-r", lock, settings=settings)
    sys.exit(done.returncode)


def write(upgrade: list[str], settings: dict[str, str]) -> None:
    """Writes the locks anew; versions and hashes stay unless the direct requirements or `upgrade` say otherwise."""
    options = ["--upgrade"] if upgrade == ["1"] else [f"--upgrade-package={name}" for name in upgrade]
    for lock in LOCKS:
        done = uv(*COMPILE, *options, "--output-file", lock, lock.with_suffix(".in"), settings=settings)
        if done.returncode:
            sys.exit(done.returncode)


def check(settings: dict[str, str]) -> None:
    """Exits with one line if a lock is not what its direct requirements, and the lock as it is, lead to."""
    for lock in LOCKS:
        direct = lock.with_suffix(".in")
        with tempfile.TemporaryDirectory() as folder:
            anew = Path(shutil.copy(lock, folder))  # uv keeps the versions and hashes that it finds there
            for option in (["--offline"], []):  # what uv knows from earlier tells as much, and needs no network
                command = (*COMPILE, *option, "--output-file", anew, direct)
                done = uv(*command, settings=settings, capture_output=True, text=True)
                if not done.returncode:
                    break
            if done.returncode:
                told = " ".join(done.stderr.split()).removeprefix("error: ").replace(str(anew), str(lock))
                sys.exit(f"error: {lock}: cannot be made from {direct}: {told}")
            if anew.read_bytes() != lock.read_bytes():
                sys.exit(f"error: {lock}: out of date with {direct}; run: make lock")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tools/environment.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install a lock").add_argument("lock", type=Path)
    commands.add_parser("lock", help="write both locks").add_argument("--upgrade", nargs="*", default=[])
    commands.add_parser("check", help="tell if a lock is out of date")
    arguments = parser.parse_args()
    settings = pip_settings()
    install_uv(settings)
    if arguments.command == "install":
        install(arguments.lock, settings)
    elif arguments.command == "lock":
        write(arguments.upgrade, settings)
    else:
        check(settings)


if __name__ == "__main__":
    main()
