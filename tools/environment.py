"""Installs, writes or checks the locked requirements: install LOCK; lock [PACKAGE…], where 1 stands for all; check.

Runs uv, which pip installs as requirements.txt pins it. Both get packages from where pip or uv is configured to.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = ".", "tools/cluster", "tools/gpu", "tests"
LOCKS = [Path(folder, "requirements.txt") for folder in FOLDERS]  # each agrees with the first
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
UV = (str(Path(sys.executable).with_name("uv")), "pip")
COMPILE = (*UV, "compile", "--universal", "--python-version=3.11", "--generate-hashes", "--quiet")
# pip's settings of where packages come from, and uv's variables for the same; others, such as `target`, do not count
SETTINGS = {"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS", "no-index": "PIP_NO_INDEX"}
SETTINGS |= {"trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
SETTINGS |= {"timeout": "UV_HTTP_TIMEOUT", "keyring-provider": "UV_KEYRING_PROVIDER"}


def configure() -> None:
    """Sets variables so that pip and uv get packages from the same place. Where both are configured, each stays so."""
    plain = os.environ | {"PIP_USER": "0"}  # `pip config` has this option too
    listed = subprocess.run([*PIP, "config", "list"], env=plain, stdout=subprocess.PIPE, text=True, check=False)
    if listed.returncode:
        sys.exit("error: pip cannot read its settings; see above")
    lines = re.findall(r"^(global|install|:env:)\.(?:default-)?([\w-]+)=(.+)$", listed.stdout, re.MULTILINE)
    lines.sort(key=lambda line: ("global", "install", ":env:").index(line[0]))  # the last wins
    settings = {name: ast.literal_eval(value) for _, name, value in lines if name in SETTINGS}
    if index := os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"):
        os.environ["UV_DEFAULT_INDEX"] = index
        settings.setdefault("index-url", index)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        del os.environ[name]
    for name, value in settings.items():
        os.environ[f"PIP_{name.upper().replace('-', '_')}"] = value
        os.environ.setdefault(SETTINGS[name], ",".join(value.split()) if name == "find-links" else value)
    os.environ |= {"PIP_CONFIG_FILE": os.devnull, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    if not os.access(os.environ.get("HOME", "/"), os.W_OK):
        os.environ["UV_NO_CACHE"] = "1"


def main() -> None:
    command, *arguments = sys.argv[1:]
    configure()
    uv = "".join(re.findall(r"^uv==.*\n(?:[ \t].*\n)*", LOCKS[0].read_text(), re.MULTILINE))
    pip_install = [*PIP, "install", "--quiet", "--require-hashes", "-r", "/dev/stdin"]
    if subprocess.run(pip_install, input=uv, text=True, check=False).returncode:
        sys.exit(f"error: pip cannot install uv as {LOCKS[0]} pins it; see above")
    if command == "install":
        no_index = ["--no-index"] if os.environ.get("PIP_NO_INDEX", "0") != "0" else []
        sys.exit(
            subprocess.call([*UV, "install", "--require-hashes", "--compile-bytecode", *no_index, "-r", *arguments])
        )
    upgrade = ["--upgrade"] if arguments == ["1"] else [f"--upgrade-package={name}" for name in arguments]
    for lock in LOCKS:
        with tempfile.TemporaryDirectory() as folder:
            output = shutil.copy(lock, folder) if command == "check" else lock  # uv keeps its versions and hashes
            write = [*COMPILE, "--custom-compile-command=make lock", *upgrade, "-o", output, lock.with_suffix(".in")]
            is_known = command == "check" and not subprocess.run([*write, "--offline"], capture_output=True).returncode
            if not is_known and subprocess.call(write):
                sys.exit(f"error: {lock}: cannot be made; see above")
            if Path(output).read_bytes() != lock.read_bytes():
                sys.exit(f"error: {lock}: out of date with {lock.with_suffix('.in')}; run: make lock")


if __name__ == "__main__":
    main()
