"""Consistency of dvc.yaml, the committed results, the documentation and the Makefile."""

import html
import json
import math
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("name", REFERENCE)
def test_the_recorded_results_reach_the_reference(name: str) -> None:
    tutorials, metrics = read_yaml(TUTORIALS), json.loads((ROOT / f"metrics/{name}.json").read_text())
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
        f"{yaml.MAX_BYTES / 10**6:g} MB, {nodes}, integers of {yaml.MAX_DIGITS} digits; {MOST_MODELS:,} models; "
        f"an estimate of {sizes.MOST / 2**30:g} GiB of memory",
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


MADE = {
    "start": "python -m tools.start DATA",
    "start DATA='my pets' YES=1": "python -m tools.start 'my pets' --yes",
    "repro": "python -m tools.repro",
    "repro JOBS=2 ALLOW_MISSING=1": "python -m tools.repro --jobs=2 --allow-missing",
    "reproduce HEAD=a BASE=b JOBS=2": "python -m tools.reproduce a --base b --jobs=2",
    "review": "python -m tools.review origin/main",
    "review HEAD=a BASE=b FAIL_ON='regression stale'": "python -m tools.review b a --fail-on regression stale",
    "preview BASE=b": "python -m tools.plots.preview b",
    "verify PROCESSORS='A B'": "python -m tools.verify --processor=A --processor=B",
    "sweep SPACE=s TRIALS=1 FINALISTS=2 SEEDS='3 4' JOBS=5 WRITE=1": (
        "python -m tools.sweep s --trials=1 --finalists=2 --seeds 3 4 --jobs=5 --write"
    ),
    "lock UPGRADE='a b'": ".venv/bin/python -I tools/environment.py lock a b",
    "readme": "python -m tools.overview\npython -m tools.overview.readme",
    "clean": (
        "rm -rf .venv dvc_plots review preview .pytest_cache .ruff_cache .mypy_cache .hypothesis\n"
        "find . -name __pycache__ -prune -exec rm -rf {} +"
    ),
    "clean-results YES=1": "python -m tools.clean --yes",
}


def made(line: str) -> list[list[str]]:
    """The commands, word by word, that a target runs in a complete environment."""
    complete = [f"--assume-old=.venv/{name}" for name in ("created", "installed", "installed-cluster", "installed-dev")]
    environment = {"PATH": os.environ["PATH"]}  # without variables that make would take for its own
    command = ["make", "--dry-run", "--no-print-directory", *complete, *shlex.split(line)]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return [shlex.split(each) for each in shown.splitlines()]


@pytest.mark.parametrize("line", MADE)
def test_make_passes_its_variables_on(line: str) -> None:
    assert made(line) == [shlex.split(each) for each in MADE[line].splitlines()]


def test_make_check_runs_each_check() -> None:
    with_check = {path for path in (ROOT / "tools").rglob("*.py") if '"--check"' in path.read_text()}
    modules = [str(path.relative_to(ROOT)).removesuffix(".py").removesuffix("/__main__") for path in with_check]
    expected = [["python", "-m", module.replace("/", "."), "--check"] for module in modules]
    expected += [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
    expected += [["zizmor", "--offline", "--quiet", ".github"]]
    expected += [[".venv/bin/python", "-I", "tools/environment.py", "check"]]
    assert sorted(made("check")) == sorted(expected)


def test_make_runs_the_python_of_the_environment() -> None:
    command = ["make", "-f", "Makefile", "-f", "-", "where"]
    shown = subprocess.check_output(command, input="where:\n\t@echo $$PATH\n", cwd=ROOT, text=True)
    assert f"{ROOT}/.venv/bin:{os.environ['PATH']}" in shown.splitlines()


CLUSTER, DEV = ["tools/cluster"], ["tools/cluster", "tests"]
NEEDS = {"repro": [], "sweep": [], "repro RAY_ADDRESS=a:1": CLUSTER, "sweep RAY_ADDRESS=a:1": CLUSTER}
NEEDS |= dict.fromkeys(("preview", "test", "check", "format"), DEV)


@pytest.mark.parametrize("line", NEEDS)
def test_what_a_target_needs_more_than_others_is_installed(line: str) -> None:
    new = [f"--assume-new={folder}/requirements.txt" for folder in DEV]
    command = ["make", "--dry-run", "--assume-old=.venv/installed", *new, *line.split()]
    shown = subprocess.check_output(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, text=True)
    assert re.findall(r"environment\.py install (\S+)/requirements\.txt\n", shown) == NEEDS[line]


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
    one = comparison.head(1).assign(
        architecture="a", accuracy=0.9871, low=0.98, high=0.9912, errors=129.25, parameters=1234
    )
    rows = (results_table(one.assign(published=p, published_is="below")).splitlines()[2] for p in (0.97, math.nan))
    start = "| `a` | 98.71% | 98.00% – 99.12% | 129.2 | 1,234 |"
    assert list(rows) == [f"{start} 97.00%, below the interval |", f"{start}  |"]
    one_seed = results_table(one.assign(seeds=1, dataset="MNIST")).splitlines()[0]
    assert one_seed.startswith("| architecture | test accuracy on MNIST | ")
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
    for minor in (11, 12, 13):
        monkeypatch.setattr(sys, "version_info", (3, minor, 0, "final", 0))
        runpy.run_path(str(ROOT / "tools/check_python.py"))
