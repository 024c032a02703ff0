"""Measures training against the tutorials' scripts: `python -m research.bench full`, or `loop`.

Writes results.json after each round, and prints the figures in README.md. Without an argument, only prints them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from research.params import edit_params
from stages.common.files import write_text
from stages.support.errors import command
from stages.support.params import load_params
from tools.common.surroundings import Run, copy_project, plain_user

RESULTS = Path(__file__).with_name("results.json")
TUTORIAL = Path(__file__).with_name("tutorial.py").absolute()
NETS = ("mlp_256", "mlp_1000", "mlp_1000_dropout", "mlp_1000x2_dropout", "cnn", "cnn_1x28x28")  # those of tutorial.py
ROUNDS = 3
ADAM = {"optimizer": {"Adam": {"learning_rate": 0.001001}}}  # as much work as 0.001, another result

Raw = dict[str, list[float]]


def seconds(run: Run, *words: str) -> float:
    """Runs a command; returns its wall time."""
    start = time.perf_counter()
    run.execute(words)
    return time.perf_counter() - start


def full() -> Raw:
    """Times a clean run with all seeds; with one seed, each tutorial script and `make repro` of that network edited."""
    raw = defaultdict(list, seeds=[len(load_params().train.seeds)])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run = plain_user("bench", Path(folder))
        copy_project(run.project)
        (run.project / ".venv").symlink_to(Path(".venv").absolute())
        run.execute(("git", "init", "--quiet"))
        raw["clean"].append(seconds(run, "make", "repro"))
        edit_params(run.project, **{"train.seeds": load_params().train.seeds[:1]})  # a script trains once
        run.execute(("make", "repro"))
        for name in NETS:
            raw[f"script {name}"].append(seconds(run, sys.executable, str(TUTORIAL), name))
            edit_params(run.project, **{f"architectures.{name}.compile": ADAM})
            raw[f"edited {name}"].append(seconds(run, "make", "repro"))
    return raw


def loop() -> Raw:
    """Times epochs of the tutorial's `fit`, and of ours with native and with portable kernels, in turn."""
    raw = defaultdict(list)
    for name in NETS:
        for who in ("tutorial", "native", "portable"):
            words = [sys.executable, "-m", "research.bench.epochs", who, name]
            printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            epochs = json.loads(printed.splitlines()[-1])
            raw[f"{who} {name} images/s"] += [epochs["images"] / each for each in epochs["seconds"]]
            raw[f"peak {who}"].append(epochs["peak"])
            if who == "portable":
                raw[f"share {name}"] += [epochs["flop"] / each / epochs["peak"] for each in epochs["seconds"]]
    return raw


def table(results: dict[str, Raw]) -> str:
    """The figures in README.md as Markdown: medians and their ratios."""
    full, loop = ({figure: median(values) for figure, values in results[part].items()} for part in ("full", "loop"))
    scripts = sum(full[f"script {name}"] for name in NETS)
    lines = [
        f"- clean `make repro`, {full['seeds']:.0f} seeds: {full['clean']:.0f} s; all scripts: {scripts:.0f} s; "
        f"ratio {full['clean'] / scripts:.2f}",
        "- peak of TensorFlow's matrix multiplication, float32 2000 × 2000: "
        f"{loop['peak native'] / 1e9:.0f} GFLOP/s with native kernels, {loop['peak portable'] / 1e9:.0f} with portable",
        "",
        "| network | edited, `make repro` ÷ script | images/s, training loop ÷ tutorial's `fit` "
        "| native images/s, portable ÷ native | share of the portable peak |",
        "|---|---|---|---|---|",
    ]
    for name in NETS:
        edited, script = full[f"edited {name}"], full[f"script {name}"]
        ours, theirs, native = (loop[f"{who} {name} images/s"] for who in ("portable", "tutorial", "native"))
        lines.append(
            f"| `{name}` | {edited:.0f} s ÷ {script:.0f} s = {edited / script:.2f} "
            f"| {ours:,.0f} ÷ {theirs:,.0f} = {ours / theirs:.2f} | {native:,.0f}, {ours / native:.2f} "
            f"| {loop[f'share {name}']:.0%} |"
        )
    return "\n".join(lines)


PARTS = {"full": full, "loop": loop}


@command
def main() -> None:
    """Measures a part of the figures, and prints all of them."""
    parser = argparse.ArgumentParser(prog="python -m research.bench", description=main.__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS)
    part = parser.parse_args().part
    results = json.loads(RESULTS.read_text())
    measured = defaultdict(list)
    for _ in range(ROUNDS if part else 0):
        for figure, values in PARTS[part]().items():
            measured[figure] += values
        write_text(RESULTS, json.dumps(results | {part: measured}, indent=1) + "\n")
    results |= {part: measured} if part else {}
    print(table(results))


if __name__ == "__main__":
    main()
