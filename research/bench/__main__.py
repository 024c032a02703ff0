"""Measures `make repro` beside the tutorials' scripts: `python -m research.bench 3` for three rounds.

Writes results.json after each round, and prints the figures in README.md. Without a number, only prints them.
"""

import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from dvc.utils.serialize import modify_yaml

from stages.common.files import write_text
from stages.support.errors import command
from stages.support.params import PARAMS_PATH, load_params
from tools.common.surroundings import Run, copy_project, plain_user

RESULTS = Path(__file__).with_name("results.json")
TUTORIAL = Path(__file__).with_name("tutorial.py").absolute()
NETS = ("mlp_256", "mlp_1000", "mlp_1000_dropout", "mlp_1000x2_dropout", "cnn", "cnn_1x28x28")  # those of tutorial.py
ADAM = {"optimizer": {"Adam": {"learning_rate": 0.001001}}}  # as much work as 0.001, another result

Raw = dict[str, list[float]]


def seconds(run: Run, *words: str) -> float:
    """Runs a command; returns its wall time."""
    start = time.perf_counter()
    run.execute(words)
    return time.perf_counter() - start


def measure() -> Raw:
    """Times a clean run with all seeds; with one seed, each tutorial script and `make repro` of that network edited."""
    raw = defaultdict(list, seeds=[len(load_params().train.seeds)])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run = plain_user("bench", Path(folder))
        copy_project(run.project)
        (run.project / ".venv").symlink_to(Path(".venv").absolute())
        run.execute(("git", "init", "--quiet"))
        raw["clean"].append(seconds(run, "make", "repro"))
        with modify_yaml(run.project / PARAMS_PATH) as params:
            del params["train"]["seeds"][1:]  # a script trains once
        run.execute(("make", "repro"))
        for name in NETS:
            raw[f"script {name}"].append(seconds(run, sys.executable, str(TUTORIAL), name))
            with modify_yaml(run.project / PARAMS_PATH) as params:
                params["architectures"][name]["compile"] = ADAM
            raw[f"edited {name}"].append(seconds(run, "make", "repro"))
    return raw


def table(results: dict[str, Raw]) -> str:
    """The figures in README.md as Markdown: medians and their ratios."""
    full, loop = ({figure: median(values) for figure, values in results[part].items()} for part in ("full", "loop"))
    scripts = sum(full[f"script {name}"] for name in NETS)
    lines = [
        f"A clean `make repro` with {full['seeds']:.0f} seeds ÷ the scripts: "
        f"{full['clean']:.0f} s ÷ {scripts:.0f} s = {full['clean'] / scripts:.2f}.",
        "",
        "| network | edited, `make repro` ÷ script | training loop ÷ tutorial's `fit`, images/s | portable ÷ native |",
        "|---|---|---|---|",
    ]
    for name in NETS:
        edited, script = full[f"edited {name}"], full[f"script {name}"]
        ours, theirs, native = (loop[f"{who} {name} images/s"] for who in ("portable", "tutorial", "native"))
        lines.append(
            f"| `{name}` | {edited:.0f} s ÷ {script:.0f} s = {edited / script:.2f} "
            f"| {ours:,.0f} ÷ {theirs:,.0f} = {ours / theirs:.2f} | ÷ {native:,.0f} = {ours / native:.2f} |"
        )
    return "\n".join(lines)


@command
def main() -> None:
    """Measures as many rounds as the command line has, and prints all figures."""
    results, measured = json.loads(RESULTS.read_text()), defaultdict(list)
    for _ in range(int(sys.argv[1]) if sys.argv[1:] else 0):
        for figure, values in measure().items():
            measured[figure] += values
        results["full"] = measured
        write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
