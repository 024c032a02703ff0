"""What holds the project together: dvc.yaml, the committed results, README and Makefile."""

import json
import os
import re
import runpy
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

from stages.common.params import load_params
from stages.common.yaml import read_yaml
from tools.common.comparison import read_table
from tools.common.lock import read_lock
from tools.overview.readme import results_table, with_table

from .conftest import ROOT, TUTORIALS

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
# Measured by the tutorials' own fit call on real MNIST (Keras 3.15, TensorFlow 2.21), seed 10. The last is the mean
# of three unseeded runs: seeded, Keras's fit repeats one order of the images in every epoch, which costs it .003.
REFERENCE = {
    "mlp_256": 0.9781,
    "mlp_1000": 0.9794,
    "mlp_1000_dropout": 0.9822,
    "mlp_1000x2_dropout": 0.9815,
    "cnn": 0.9874,
    "cnn_1x28x28": 0.9846,
}


def test_importing_the_stages_does_not_import_tensorflow() -> None:
    code = "import sys, stages.train, stages.evaluate; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def recorded_metrics(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"metrics/{name}.json").read_text())


@pytest.mark.parametrize("name", REFERENCE)
def test_the_recorded_results_reach_the_reference(name: str) -> None:
    tutorials = read_yaml(TUTORIALS)
    recipe = {"architectures." + name: tutorials["architectures"][name], "train": tutorials["train"]}
    recorded = read_lock(ROOT / "dvc.lock").get(f"train@{name}", {}).get("params", {}).get("params.yaml")
    if recorded != recipe:
        pytest.skip(f"{name} is another recipe than the tutorial's, which has no reference")
    metrics = recorded_metrics(name)
    if metrics["dataset"] != "MNIST":
        pytest.skip(f"metrics/{name}.json comes from {metrics['dataset']}, which has no reference")
    assert metrics["accuracy"] == pytest.approx(REFERENCE[name], abs=0.004)


def test_the_recorded_comparison_is_that_of_the_recorded_metrics() -> None:
    for row in read_table((ROOT / "plots/comparison.csv").read_bytes()).itertuples():
        metrics = recorded_metrics(row.architecture)
        assert (row.accuracy, row.dataset) == (metrics["accuracy"], metrics["dataset"])


def test_the_registry_names_models_that_a_stage_writes() -> None:
    names = load_params(ROOT / "params.yaml").architectures
    for artifact in read_yaml(ROOT / "dvc.yaml")["artifacts"].values():
        assert artifact["path"] in {f"data/models/{name}.keras" for name in names}
        assert artifact["type"] == "model"


def test_the_readme_documents_every_make_target() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    readme = (ROOT / "README.md").read_text()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in targets:
        assert f"make {target}" in readme
        assert f"make {target} " in shown


def test_the_results_table_goes_between_its_marks_and_leaves_the_rest() -> None:
    comparison = pd.read_csv(ROOT / "plots/comparison.csv")
    table = results_table(comparison)
    assert table.count("\n") == 2 + len(comparison)
    before = (ROOT / "README.md").read_text()
    once = with_table(before, table)
    assert with_table(once, table) == once
    assert with_table(once, "the table\n").replace("the table\n", table) == once


@pytest.mark.parametrize(("version", "accepted"), [((3, 10), False), ((3, 11), True), ((3, 14), False)])
def test_an_unfit_python_is_told_in_one_line(
    version: tuple[int, int], accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    if accepted:
        runpy.run_path(str(ROOT / "tools/check_python.py"))
        return
    with pytest.raises(SystemExit, match=rf"error: expected Python 3.11, 3.12 or 3.13, found 3.{version[1]} "):
        runpy.run_path(str(ROOT / "tools/check_python.py"))


def test_requirements_are_pinned() -> None:
    for path in ("requirements.txt", "tests/requirements.txt"):
        for line in (ROOT / path).read_text().splitlines():
            requirement = line.split("#")[0].strip()
            assert not requirement or requirement.startswith("-r ") or re.fullmatch(r"[\w.\[\]-]+==[\w.]+", requirement)


def local_variables() -> list[str]:
    told = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    return told.stdout.split()


def test_no_variable_of_one_repository_reaches_what_tools_start() -> None:
    kept = {"GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"}  # settings such as safe.directory
    code = "import json, os, tools; print(json.dumps(dict(os.environ)))"
    environment = os.environ | dict.fromkeys(local_variables(), "0")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert set(local_variables()) & set(json.loads(done.stdout)) == kept
