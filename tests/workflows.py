"""Runs the scripts of the workflows in .github/ as GitHub would: in a runner's checkout, beside a bare repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

from stages.support.yaml import read_yaml

from .conftest import ROOT, Project

WORKFLOWS = {path.stem: read_yaml(path) for path in (ROOT / ".github/workflows").glob("*.yml")}
NUMBER = 7  # of the pull request
FORGED = "no-such-package\n"

GH = f"""\
#!{sys.executable}
import json, os, sys
import jq
arguments = sys.argv[1:]
command = arguments.pop(0)
if command == "auth":
    sys.exit(arguments != ["setup-git"])
assert command == "api"
options = dict(zip(arguments, arguments[1:]))
path, = (argument for argument in arguments if argument.startswith("repos/"))
body = open(options["--field"].removeprefix("body=@")).read() if "--field" in options else None
with open(os.environ["GH_LOG"], "a") as log:
    log.write(json.dumps([options.get("--method", "GET"), path, body]) + "\\n")
if "--jq" in options:
    answer = os.environ["GH_PULLS" if "/pulls" in path else "GH_COMMENTS"]
    print(*jq.compile(options["--jq"]).input_text(answer).all(), sep="\\n")
"""


def expressions(text: str, values: dict[str, str]) -> str:
    """What GitHub makes of `${{ … }}`; an expression that is not in `values` is an error."""
    return re.sub(r"\$\{\{ ([^}]+) \}\}", lambda match: values[match[1]], text)


def run_job(workflow: str, name: str, folder: Path, values: dict[str, str], **environment: str) -> list[int]:
    """Runs a job's scripts in turn as GitHub does; returns their exit statuses.

    Nothing is installed, as all is there; where requirements.txt is not the base branch's, that fails. What a step
    gives as its outputs is added to the values.
    """
    output = folder.parent / "output"
    statuses = []
    for step in WORKFLOWS[workflow]["jobs"][name]["steps"]:
        if re.search(r"\binstall\b.* requirements\.txt$", step.get("run", "")):
            statuses.append(int((folder / "requirements.txt").read_text() == FORGED))
            continue
        if "run" in step and (not any(statuses) or "cancelled" in step.get("if", "")):
            given = {key: expressions(value, values) for key, value in step.get("env", {}).items()}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            given |= {"GITHUB_OUTPUT": str(output)}
            output.write_text("")
            done = subprocess.run(command, cwd=folder, env=os.environ | environment | given, check=False)
            pairs = dict(line.split("=", 1) for line in output.read_text().splitlines())
            values |= {f"steps.{step['id']}.outputs.{key}": value for key, value in pairs.items()}
            statuses.append(done.returncode)
    return statuses


def serve(author: Project, head: str, base: str, folder: Path) -> Project:
    """Makes GitHub's bare repository, with a pull request for `main` at `base`, and the runner's checkout of that."""
    author.run("git", "clone", "-q", "--bare", ".", str(folder / "github.git"))
    bare = Project(folder / "github.git")
    bare.run("git", "update-ref", f"refs/pull/{NUMBER}/head", head)
    bare.run("git", "update-ref", "refs/heads/main", base)
    bare.run("git", "symbolic-ref", "HEAD", "refs/heads/main")
    bare.run("git", "clone", "-q", ".", str(folder / "runner"))
    return bare


def stand_in(name: str, script: str, folder: Path) -> None:
    """Puts a program into a folder of the PATH."""
    (path := folder / name).parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
