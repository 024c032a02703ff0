"""research/ can be imported, and its recorded figures give its pages."""

import json
from importlib import import_module

import pandas as pd
import pytest

from stages.models.models import import_keras

from .conftest import ROOT

SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "research").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_a_script_can_be_imported(path) -> None:
    import_keras()  # before the tutorials' script, which imports it with other settings
    import_module(".".join(path.with_suffix("").parts))


def test_the_page_of_benchmarks_has_the_recorded_figures() -> None:
    bench = import_module("research.bench.__main__")
    assert bench.table(json.loads(bench.RESULTS.read_text())) in bench.RESULTS.with_name("README.md").read_text()


def test_the_page_of_seeds_has_the_recorded_figures() -> None:
    seeds = import_module("research.seeds.__main__")
    recorded = (pd.read_csv(seeds.HERE / f"{name}.csv") for name in ("claims", "honesty"))
    rows = list(seeds.tables({}, *recorded, 0.95))
    assert len(rows) == 13
    assert set(rows) <= set((seeds.HERE / "README.md").read_text().splitlines())
