"""Installs, writes or checks the locked requirements: install LOCK; lock [PACKAGE…], where 1 stands for all; check.

Runs uv, which pip installs as requirements.txt pins it. Both get packages from where pip or uv is configured to.
"""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = [Path(folder, "requirements.txt") for folder in (".", "tools/cluster", "tests")]  # each agrees with the first
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
UV = (str(Path(sys.executable).with_name("uv")), "pip")
COMPILE = ("compile", "--universal", "--python-version=3.11", "--generate-hashes", "--quiet")
# pip's settings of where packages come from, and uv's variables for the same. Others, such as `target`, do not count
SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE"}
SETTINGS |= {"proxy": "ALL_PROXY", "timeout": "UV_HTTP_TIMEOUT", "default-timeout": "UV_HTTP_TIMEOUT"}
SETTINGS |= dict.fromkeys(
    ("extra-index-url", "no-index", "find-links", "client-cert", "keyring-provider", "retries"), ""
)
SETTINGS |= dict.fromkeys(("cache-dir", "no-cache-dir", "use-feature", "use-deprecated"), "")
VARIABLES = {name: f"PIP_{name.upper().replace('-', '_')}" for name in SETTINGS}
# For `pip config list`, which has these options too: settings for other commands must not hide any of the list
PLAIN = dict.fromkeys(("PIP_USER", "PIP_SITE", "PIP_GLOBAL", "PIP_QUIET"), "0") | {"PIP_LOG": os.devnull}


def configure() -> None:
    """Sets variables so that pip and uv get packages from the same place. Where both are configured, each stays so."""
    for name in {name for name in os.environ if name.startswith("PIP_")} - {*VARIABLES.values(), "PIP_CONFIG_FILE"}:
        del os.environ[name]
    done = subprocess.run([*PIP, "config", "list"], env=os.environ | PLAIN, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: pip cannot read its settings: {' '.join(done.stderr.split())}")
    lines = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.+)$", done.stdout, re.MULTILINE)
    lines.sort(key=lambda line: ("global", "install", ":env:").index(line[0]))  # the last wins
    settings = {name: ast.literal_eval(value) for _, name, value in lines if name in SETTINGS and value != "''"}
    if index := os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"):
        os.environ["UV_DEFAULT_INDEX"] = index
        settings.setdefault("index-url", index)
    for name, value in settings.items():
        os.environ[VARIABLES[name]] = value
        os.environ.setdefault(SETTINGS[name] or VARIABLES[name], value)
    os.environ |= {"PIP_CONFIG_FILE": os.devnull, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    if "UV_CACHE_DIR" not in os.environ and not os.access(os.environ.get("HOME", "/"), os.W_OK):
        os.environ["UV_NO_CACHE"] = "1"


def install_uv() -> None:
    """Has pip install the pinned uv, checked by its hashes, unless it is installed."""
    text = LOCKS[0].read_text() if LOCKS[0].exists() else ""
    if not (pin := re.search(r"^uv==(\S+).*\n(?:[ \t].*\n)*", text, re.MULTILINE)):
        sys.exit(f"error: {LOCKS[0]}: expected a line uv==…, found none; run: git restore {LOCKS[0]}")
    if any(uv.version == pin[1] for uv in importlib.metadata.distributions(name="uv")):
        return
    command = [*PIP, "install", "--quiet", "--require-hashes", "-r", "/dev/stdin"]
    if subprocess.run(command, input=pin[0], text=True, check=False).returncode:
        sys.exit("error: pip cannot install uv; see above")


def install(lock: str) -> None:
    """Installs what a lock lists, each file checked by its hashes. What else is installed stays."""
    options = []
    if os.environ.get("PIP_NO_INDEX", "0").lower() not in ("0", "false", "no", "off"):
        options = ["--no-index", *(f"--find-links={place}" for place in os.environ.get("PIP_FIND_LINKS", "").split())]
    sys.exit(subprocess.call([*UV, "install", "--require-hashes", "--compile-bytecode", *options, "-r", lock]))


def write(lock: Path, output: Path, *options: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Writes a lock from the .in file beside it. Versions and hashes in `output` stay unless `options` upgrade them."""
    files = ["-o", str(output), str(lock.with_suffix(".in"))]
    command = [*UV, *COMPILE, "--custom-compile-command=make lock", *options, *files]
    return subprocess.run(command, text=True, check=False, capture_output=capture)


def check(lock: Path) -> None:
    """Exits with one line if a lock is not what its direct requirements, and the lock as it is, lead to."""
    direct = lock.with_suffix(".in")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(lock, folder))
        done = write(lock, copy, "--offline", capture=True)  # what uv knows from earlier is often enough
        if done.returncode:
            done = write(lock, copy, capture=True)
        if done.returncode:
            reason = " ".join(done.stderr.split()).removeprefix("error: ").replace(str(copy), str(lock))
            sys.exit(f"error: {lock}: cannot be made from {direct}: {reason}")
        if copy.read_bytes() != lock.read_bytes():
            sys.exit(f"error: {lock}: out of date with {direct}; run: make lock")


def main() -> None:
    command, *arguments = sys.argv[1:]
    configure()
    install_uv()
    if command == "install":
        install(*arguments)
    options = ["--upgrade"] if arguments == ["1"] else [f"--upgrade-package={name}" for name in arguments]
    for path in LOCKS:
        if command == "check":
            check(path)
        elif status := write(path, path, *options).returncode:
            sys.exit(status)


if __name__ == "__main__":
    main()
