"""What holds the project together: dvc.yaml, the committed results, README and Makefile."""

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.common.params import load_params
from tools.comparison import read_table
from tools.lock import read_lock
from tools.readme import results_table, with_table

from .conftest import ROOT, TUTORIALS

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
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


def imported_modules(path: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The project's own modules that one of them imports, itself among them, however deep."""
    found = {path}
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stages":
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                candidate = f"{name.replace('.', '/')}.py"
                if (ROOT / candidate).exists() and candidate not in seen | found:
                    found |= imported_modules(candidate, seen | found)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_imports(stage: str) -> None:
    definition = STAGES[stage].get("do", STAGES[stage])
    listed = {dep for dep in definition["deps"] if dep.startswith("stages/")}
    own = {path for path in imported_modules(f"stages/{stage}.py") if not path.startswith("stages/common/")}
    assert listed == own | {"stages/common"}


def test_stages_import_no_other_stage_and_no_tool() -> None:
    for stage in STAGES:
        others = {f"stages/{other}.py" for other in STAGES} - {f"stages/{stage}.py"}
        assert not imported_modules(f"stages/{stage}.py") & others
    for path in (ROOT / "stages").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) tools", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("module", ["fetch", "preprocess", "train", "evaluate", "report"])
def test_importing_a_stage_does_not_import_tensorflow(module: str) -> None:
    code = f"import sys, stages.{module}; sys.exit(bool({{'tensorflow', 'keras'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def recorded_metrics(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"metrics/{name}.json").read_text())


@pytest.mark.parametrize("name", REFERENCE)
def test_the_recorded_results_reach_the_reference(name: str) -> None:
    tutorials = YAML(typ="safe").load(TUTORIALS)
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
    for artifact in YAML(typ="safe").load(ROOT / "dvc.yaml")["artifacts"].values():
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
