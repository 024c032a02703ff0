"""research/ can be imported."""

from importlib import import_module

import pytest

from stages.models.models import import_keras

from .conftest import ROOT

SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "research").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_a_script_can_be_imported(path) -> None:
    import_keras()  # before the tutorials' script, which imports it with other settings
    import_module(".".join(path.with_suffix("").parts))
