"""Adds a recipe of docs/recipes/ to the architectures in params.yaml (`make recipe NAME=cnn_best`).

A recipe is the text of a block, with its comments.
"""

import argparse
from pathlib import Path

from stages.support.errors import PipelineError, command
from stages.support.notation import nearest
from tools.common.recipes import add_architecture

FOLDER = Path("docs/recipes")


@command
def main() -> None:
    """Adds a recipe of docs/recipes/ to the architectures in params.yaml."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="make recipe", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", help=", ".join(known))
    name = parser.parse_args().name
    if name not in known:
        raise PipelineError(f"{FOLDER}: no recipe '{name}'{nearest(name, known)}")
    add_architecture(name, (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
