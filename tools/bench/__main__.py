"""Measures the pipeline (`make bench`) against the tutorials' scripts, bare DVC and the limits of the machine.

Writes raw figures to bench/results.json and a table to bench/results.md, after each round. Needs MNIST in Keras's
cache. Takes hours, so parts can be measured separately. Run nothing else meanwhile.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from stages.common.files import write_text
from stages.fetch import keras_cache
from stages.support.errors import PipelineError, command
from tools.bench.parts import PARTS, memory_bandwidth
from tools.bench.table import page
from tools.common.arguments import number

RAW, TABLE = Path("bench/results.json"), Path("bench/results.md")


@command
def main() -> None:
    """Measure the speed of the pipeline, all parts or those given."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=main.__doc__)
    parser.add_argument("--rounds", type=number(1), default=3, metavar="N", help="rounds per part (default: 3)")
    parser.add_argument("--add", action="store_true", help="keep the recorded rounds, and add to them")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise PipelineError(f"unknown part {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
    if not (keras_cache() / "mnist.npz").exists():
        raise PipelineError(f"{keras_cache() / 'mnist.npz'}: no such file; put MNIST there for make bench")
    raw = json.loads(RAW.read_text()) if RAW.exists() else {}
    raw["machine"] = {"cores": [len(os.sched_getaffinity(0))], "bandwidth": memory_bandwidth()}
    for part in arguments.parts or PARTS:
        print(f"{part}: {' '.join((PARTS[part].__doc__ or '').split())}", flush=True)
        measured = raw.get(part, {}) if arguments.add else {}
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                for figure, values in PARTS[part](Path(folder)).items():
                    measured[figure] = measured.get(figure, []) + values
            raw[part] = measured
            write_text(RAW, json.dumps(raw, indent=1) + "\n")
            write_text(TABLE, page(raw))
    print(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
