"""Measures how fast the pipeline is (`make bench`), beside the tutorials' scripts, bare DVC and the machine's limits.

Writes the raw figures (bench/results.json) and what follows from them (bench/results.md), after each round. With MNIST
in Keras's cache; takes hours, so parts can be measured by themselves. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.fetch import keras_cache
from tools.bench.parts import PARTS, memory_bandwidth
from tools.bench.table import page
from tools.common.arguments import number

RAW, TABLE = Path("bench/results.json"), Path("bench/results.md")


@command
def main() -> None:
    """Measures the parts named, or all."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=number(1), default=3, metavar="N", help="rounds of each part (default: 3)")
    parser.add_argument("--add", action="store_true", help="to the rounds that are there, rather than anew")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise PipelineError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not (keras_cache() / "mnist.npz").exists():
        raise PipelineError(f"{keras_cache() / 'mnist.npz'}: no such file; make bench needs MNIST there")
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
