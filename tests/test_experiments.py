"""`dvc exp`, as docs/searching.md has it: queue, run in parallel, compare, apply, branch, and run in a folder aside."""

import csv
import io
import re
import shlex

from stages.support.yaml import read_yaml

from .conftest import ROOT, Project
from .faults import outputs
from .test_ending import wait_until

EPOCHS, PAIRS = "architectures.mlp_256.fit.epochs", "report.confused_pairs"


def test_experiments(project: Project) -> None:
    """The queue has real processes, and so trains nothing here."""
    (command,) = re.findall(r"^\$ (dvc exp show .*)", (ROOT / "docs/searching.md").read_text(), re.MULTILINE)
    show, before = shlex.split(command), outputs(project)
    project.run("dvc", "exp", "run", "--queue", "-S", f"{PAIRS}=4", "-n", "pairs")
    project.run("dvc", "queue", "start", "-j", "2")
    project.run("dvc", "exp", "run", "--temp", "-S", f"{EPOCHS}=3", "-n", "three")

    def status() -> str:
        return project.run("dvc", "queue", "status").stdout

    wait_until(lambda: not re.search("Queued|Running", status()))
    assert status().count("Success") == 1
    assert outputs(project) == before  # both ran elsewhere

    table = project.run("env", "COLUMNS=140", *show, "--no-pager").stdout
    assert all(name in table for name in ("[pairs]", "[three]", EPOCHS, PAIRS, "accuracy"))
    assert "…" not in table  # it fits
    rows = csv.DictReader(io.StringIO(project.run(*show, "--csv").stdout))
    assert {row["Experiment"]: (row[EPOCHS], row[PAIRS]) for row in rows} == {
        "": ("2", "5"),
        "pairs": ("2", "4"),
        "three": ("3", "5"),
    }

    project.run("dvc", "exp", "branch", "pairs", "tried")
    assert "confused_pairs: 4" in project.run("git", "show", "tried:params.yaml").stdout

    project.run("dvc", "exp", "apply", "three")
    assert read_yaml(project.params)["architectures"]["mlp_256"]["fit"]["epochs"] == 3
    assert "mlp_256.json" in project.run("git", "status", "--short", "metrics").stdout
    assert not project.repro().ran - {"fetch"}  # results and models are those of the experiment
