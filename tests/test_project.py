"""Consistency of dvc.yaml, the committed results, the documentation and the Makefile."""

import html
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.common.prepared import MAX_CLASSES
from stages.data import download, folders
from stages.data.archive import MAX_BYTES, MAX_SIDE
from stages.support import json as support_json
from stages.support import sizes, yaml
from stages.support.errors import PipelineError
from stages.support.params import MOST_MODELS, load_params
from stages.support.yaml import read_yaml
from tools.common import results
from tools.common.definitions import stages
from tools.common.lock import read_lock
from tools.overview.readme import results_table, with_table

from .conftest import ROOT, TUTORIALS

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "research").rglob("*.md"))]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what is gone
# Measured with the tutorials' own fit call on real MNIST (Keras 3.15, TensorFlow 2.21), seed 10. The last is the mean
# of three unseeded runs: with a seed, Keras's fit repeats one order of the images in every epoch, which costs it .003.
REFERENCE = {
    "mlp_256": 0.9781,
    "mlp_1000": 0.9794,
    "mlp_1000_dropout": 0.9822,
    "mlp_1000x2_dropout": 0.9815,
    "cnn": 0.9874,
    "cnn_1x28x28": 0.9846,
}


def test_tools_look_for_results_where_dvc_yaml_writes_them() -> None:
    kinds = (results.metrics, results.predictions, results.history, results.confusion, results.worst_errors)
    read = {results.DESCRIPTION, *(kind("cnn") for kind in (*kinds, results.errors))}
    read |= {results.model("cnn", 10).parent, results.errors_table("cnn").parent}
    read |= {results.TRAINING_DATA, results.TEST_DATA}
    defined = stages(read_yaml(ROOT / "dvc.yaml"), read_yaml(TUTORIALS), "dvc.yaml")
    assert read <= {Path(out) for stage in defined.values() for out in stage.outs}


def recorded_metrics(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"metrics/{name}.json").read_text())


@pytest.mark.parametrize("name", REFERENCE)
def test_the_recorded_results_reach_the_reference(name: str) -> None:
    tutorials, metrics = read_yaml(TUTORIALS), recorded_metrics(name)
    recipe = {"architectures." + name: tutorials["architectures"][name], "train": tutorials["train"]}
    recorded = read_lock(ROOT / "dvc.lock").get(f"train@{name}", {}).get("params", {}).get("params.yaml")
    if recorded != recipe or metrics["dataset"] != ["MNIST"]:
        pytest.skip(f"{name} is another recipe than the tutorial's or of other data, which has no reference")
    assert metrics["accuracy"] == pytest.approx(REFERENCE[name], abs=0.004)


def test_the_registry_names_models_that_a_stage_writes() -> None:
    names = load_params(ROOT / "params.yaml").architectures
    for artifact, entry in read_yaml(ROOT / "dvc.yaml")["artifacts"].items():
        own = artifact.replace("-", "_")
        models = [own] if own in names else names  # that of the architecture whose name it has
        assert entry["path"] in {f"data/models/{name}/${{train.seeds[0]}}.keras" for name in models}
        assert entry["type"] == "model"


def test_the_limits_are_those_that_users_are_told() -> None:
    pixels = f"{MAX_SIDE:,} × {MAX_SIDE:,} pixels, {MAX_CLASSES} classes"
    picture = f"{folders.MAX_PIXELS // 10**6} million pixels and {folders.MAX_FILE // 10**6} MB each"
    nodes = f"{yaml.MAX_NODES:,} keys and values with aliases written out, {yaml.MAX_DEPTH} levels"
    stated = (
        f"arrays of at most {MAX_BYTES / 2**30:g} GiB together, images of at most {pixels};",
        f"a million pictures of at most {picture}",
        f"{download.MAX_BYTES / 2**30:g} GiB after decompression, {download.MAX_SECONDS / 60:g} minutes, 30 redirects; "
        "{} s to connect, {} s between bytes".format(*download.TIMEOUTS),
        f"{yaml.MAX_BYTES / 10**6:g} MB, {nodes}, integers of {yaml.MAX_DIGITS} digits; {MOST_MODELS:,} models, "
        f"{sizes.MOST / 2**30:g} GiB of memory",
        f"| {support_json.MAX_BYTES / 10**6:g} MB, 200 levels, finite numbers |",
    )
    security = (ROOT / "SECURITY.md").read_text()
    assert [line for line in stated if line not in security] == []
    assert folders.MAX_PICTURES == 1_000_000


def make_targets() -> list[str]:
    return re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


def code(page: Path) -> str:
    """The code spans and code blocks of a Markdown page."""
    return "\n".join(re.findall(r"(?s)```.*?```|`[^`]+`", page.read_text()))


def test_every_make_target_is_documented() -> None:
    documented = "\n".join(map(code, CURRENT))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in make_targets():
        assert re.search(rf"\bmake {target}(?![\w-])", documented), target
        assert f"make {target} " in shown


def test_pages_are_few_short_and_linked() -> None:
    assert len(DOCS) <= 10
    for page in (ROOT / "README.md", *DOCS):
        lines = page.read_text().splitlines()
        assert len(lines) <= (130 if page.name == "README.md" else 80), page
        assert [line for line in lines if len(line) > 140] == [], page
        assert page.parent == ROOT or f"](docs/{page.name})" in (ROOT / "README.md").read_text()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_files_that_a_page_names_exist(page: Path) -> None:
    assert set(re.findall(r"(?:`|^|\$ )make ([a-z]+)", code(page), re.MULTILINE)) <= set(make_targets())
    for module in re.findall(r"python -m ((?:tools|stages|research|tests)[\w.]*)", code(page)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for path in re.findall(r"`((?:stages|tools|tests|research|\.github)/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_the_mistake_in_the_readme_is_reported_as_shown(tmp_path: Path) -> None:
    readme, path = (ROOT / "README.md").read_text(), tmp_path / "params.yaml"
    block = re.search(r"(?s)```yaml\n(.*?)```", readme)[1]
    path.write_text(TUTORIALS.read_text() + block.replace("Flatten", "Flaten"))
    with pytest.raises(PipelineError) as caught:
        load_params(path)
    assert f"\nerror: {str(caught.value).replace(str(path), 'params.yaml')}\n" in readme


def test_the_results_table_goes_between_its_marks_and_leaves_the_rest() -> None:
    comparison = pd.read_csv(ROOT / "plots/comparison.csv")
    table = results_table(comparison)
    assert table.count("\n") == 2 + len(comparison)
    before = (ROOT / "README.md").read_text()
    once = with_table(before, table)
    assert with_table(once, table) == once
    assert with_table(once, "the table\n").replace("the table\n", table) == once


@pytest.mark.parametrize("dataset", ["a|b", "Ba$$in $x$", "*a* `b` _c_ ~~d~~", "one\ntwo", "<b>", "@user", "[a](b)"])
def test_the_results_table_shows_any_name_of_a_data_set(dataset: str) -> None:
    comparison = pd.read_csv(ROOT / "plots/comparison.csv").assign(dataset=dataset)
    shown = results_table(comparison).splitlines()[0].partition("test accuracy on ")[2].partition(", mean of")[0]
    assert html.unescape(shown) == dataset.replace("\n", " ")
    assert not re.search(r"[|$*`<@\[]|_c|~~", shown)


def test_an_unsupported_python_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for minor in (10, 14):
        monkeypatch.setattr(sys, "version_info", (3, minor, 0, "final", 0))
        with pytest.raises(SystemExit, match=rf"error: expected Python 3.11, 3.12 or 3.13, found 3.{minor} "):
            runpy.run_path(str(ROOT / "tools/check_python.py"))
    monkeypatch.setattr(sys, "version_info", (3, 11, 0, "final", 0))
    runpy.run_path(str(ROOT / "tools/check_python.py"))
