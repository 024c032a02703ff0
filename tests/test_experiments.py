"""`dvc exp`, as docs/searching.md has it: queue, run in parallel, compare, apply, branch, and run in a folder aside."""

import csv
import io
import re
import shlex

import pytest

from stages.support.yaml import read_yaml

from .conftest import ROOT, Project
from .faults import outputs
from .test_ending import wait_until

FIT = "architectures.mlp_256.fit"


@pytest.fixture(scope="module")
def shown() -> list[str]:
    """The command in the documentation that shows experiments, without its prompt."""
    lines = (ROOT / "docs/searching.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("$ dvc exp show"))
    return shlex.split(line.removeprefix("$ "))


def test_experiments(project: Project, shown: list[str]) -> None:
    before = outputs(project)
    project.run("dvc", "exp", "run", "--queue", "-S", f"{FIT}.epochs=1", "-S", f"{FIT}.batch_size=10", "-n", "one")
    project.run("dvc", "queue", "start", "-j", "2")
    project.run("dvc", "exp", "run", "--temp", "-S", f"{FIT}.epochs=3", "-n", "three")

    def status() -> str:
        return project.run("dvc", "queue", "status").stdout

    wait_until(lambda: not re.search("Queued|Running", status()))
    assert status().count("Success") == 1
    assert outputs(project) == before  # both ran elsewhere

    table = project.run("env", "COLUMNS=140", *shown, "--no-pager").stdout
    assert all(name in table for name in ("[one]", "[three]", f"{FIT}.epochs", "accuracy"))
    assert "…" not in table  # it fits
    rows = csv.DictReader(io.StringIO(project.run(*shown, "--csv").stdout))
    epochs = {row["Experiment"]: row[f"{FIT}.epochs"] for row in rows}
    assert epochs == {"": "2", "one": "1", "three": "3"}

    project.run("dvc", "exp", "branch", "three", "tried")
    assert "epochs: 3" in project.run("git", "show", "tried:params.yaml").stdout

    project.run("dvc", "exp", "apply", "one")
    fit = read_yaml(project.params)["architectures"]["mlp_256"]["fit"]
    assert (fit["epochs"], fit["batch_size"]) == (1, 10)
    assert "mlp_256.json" in project.run("git", "status", "--short", "metrics").stdout
    assert not project.repro().ran - {"fetch"}  # results and models are those of the experiment
