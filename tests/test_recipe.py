"""A block that is added to params.yaml, and nothing else changes."""

import pytest

from tools.common.recipes import with_block


@pytest.mark.parametrize("end", ["", "\n", "\n# the end\n\n", "\nensembles: {}\n"])
def test_a_block_stands_behind_the_last_architecture(end: str) -> None:
    text = f"architectures:\n  one: {{a: 1}}\n\n  # the second\n  two:\n    b: 2{end}"
    added = with_block(text, "  three:\n    c: 3\n")
    assert "    b: 2\n\n  three:\n    c: 3\n" in added.replace("\n# the end\n", "\n").replace("\n\n\n", "\n\n")
    assert added.replace("  three:\n    c: 3\n", "").split() == text.split()
