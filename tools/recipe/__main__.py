"""Adds a recipe of docs/recipes/ to the architectures in params.yaml (`make recipe NAME=cnn_best`).

A recipe is the text of a block, with its comments. It is put behind the last architecture; the rest of params.yaml
stays as it is. Nothing is written if params.yaml would not be valid afterwards.
"""

import argparse
import re
import tempfile
from pathlib import Path

from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.notation import nearest
from stages.common.params import PARAMS_PATH, load_params

FOLDER = Path("docs/recipes")
ARCHITECTURES = re.compile(r"^architectures:.*\n(?:(?:[ \t#].*)?\n)*", re.MULTILINE)


def add(text: str, block: str) -> str:
    """The text of a params.yaml with a block behind its last architecture."""
    text = f"{text.rstrip()}\n"
    found = ARCHITECTURES.search(text)
    if not found:
        raise PipelineError(f"{PARAMS_PATH}: architectures: expected a block of indented lines; add the recipe by hand")
    end = found.start() + len(found[0].rstrip())
    return f"{text[:end]}\n\n{block.rstrip()}{text[end:]}"


@command
def main() -> None:
    """Adds a recipe of docs/recipes/ to the architectures in params.yaml."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="make recipe", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", help=", ".join(known))
    name = parser.parse_args().name
    if name not in known:
        raise PipelineError(f"{FOLDER}: no recipe '{name}'{nearest(name, known)}")
    if name in load_params().architectures:
        raise PipelineError(
            f"{PARAMS_PATH}: architectures.{name} is there already; to start anew, delete its block first"
        )
    text = add(PARAMS_PATH.read_text(encoding="utf-8"), (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / PARAMS_PATH.name
        trial.write_text(text, encoding="utf-8")
        load_params(trial)
    write_text(PARAMS_PATH, text)
    print(f"{PARAMS_PATH}: added architectures.{name}; train it by: make repro")


if __name__ == "__main__":
    main()
