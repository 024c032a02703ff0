"""Shows which Keras objects that params.yaml may name give the same bytes on other processors (`make operations`).

Each object is in a small architecture of its own, which is built and trained for a few steps. What it gives is printed
as a digest, natively and on emulated processors. A difference that stages/support/keras_api.py does not list in
`NOT_PORTABLE` is a failure. Takes about an hour for each processor.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np

from stages.common.prepared import Dataset
from stages.models.building import build_model
from stages.models.models import fuse_update, import_keras, make_deterministic
from stages.support.architecture import Architecture
from stages.support.errors import PipelineError, command
from stages.support.keras_api import NOT_PORTABLE, Kind, definitions
from tools.common.surroundings import QEMU, another_processor

PROCESSORS = ("Haswell", "EPYC-Rome")
AT_ONCE = 2  # processes for each processor
DATASET = Dataset("noise", classes=10, image=(8, 8, 1), train=40, test=0, sha256="")
DENSE = {"Dense": {"units": 6}}
CONV = {"Conv2D": {"filters": 4, "kernel_size": 3}}  # to (6, 6, 4)
HEAD = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
EXAMPLES: dict[str, Any] = {  # values of required arguments, by name
    "activation": "tanh",
    "branches": [[], [{"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}}]],
    "boundaries": [1, 2],
    "cropping": 1,
    "dims": [2, 1, 3],
    "factor": 0.5,
    "filters": 3,
    "height_factor": 0.2,
    "kernel_size": 2,
    "n": 3,
    "output_size": 2,
    "pool_size": 2,
    "rate": 0.3,
    "scale": 2,
    "stddev": 0.5,
    "units": 5,
    "values": [0.1, 0.01, 0.001],
    "value_range": [0, 1],
    "width_factor": 0.2,
    "height": 4,
    "width": 4,
    "initial_learning_rate": 0.01,
    "decay_rate": 0.5,
    "first_decay_steps": 2,
    "target_shape": [12, 12],
}
OWN_EXAMPLES = {
    "EinsumDense": {"equation": "abcd,de->abce", "output_shape": [6, 6, 5]},
    "GroupNormalization": {"groups": 2},
    "RandomColorJitter": {"brightness_factor": 0.5, "contrast_factor": 0.5},  # by default, it changes nothing
    "RandomPosterization": {"factor": 4},
}


def names() -> list[tuple[Kind, str]]:
    """Every object on offer."""
    return [(kind, name) for kind in get_args(Kind) for name in definitions(kind)]


def example(kind: Kind, name: str) -> dict[str, Any]:
    """A small architecture that uses the object."""
    schema = definitions(kind)[name]
    arguments = dict(OWN_EXAMPLES.get(name, {}))
    arguments |= {key: EXAMPLES[key] for key in schema["required"] if key not in arguments}
    each, layers, compile_ = {name: arguments}, [CONV, "Flatten", DENSE, *HEAD[1:]], {}
    match kind:
        case "layer":
            layers = [*_before(name), each, *HEAD]
        case "activation":
            layers = [{"Conv2D": CONV["Conv2D"] | {"activation": name}}, *HEAD]
        case "initializer" | "regularizer" | "constraint":
            argument = {f"kernel_{kind}": each}
            layers = ["Flatten", {"Dense": {"units": 64} | argument}, *HEAD[1:]]
        case "schedule":
            compile_ = {"optimizer": {"SGD": {"learning_rate": each}}}
        case _:
            compile_ = {kind: each}
    fit = {"epochs": 1, "batch_size": 20}
    return {"layers": layers, "compile": compile_, "fit": fit}


def _before(name: str) -> list[Any]:
    """The layers that make an image of what a layer takes."""
    if name.startswith("Rand") or name in ("AugMix", "AutoContrast", "Equalization", "Solarization"):
        return []  # augmentations take images
    if name == "ConvLSTM1D":
        return [CONV]
    if name == "ConvLSTM2D":
        return [CONV, {"Reshape": {"target_shape": [2, 3, 6, 4]}}]
    if name == "ConvLSTM3D":
        return [CONV, {"Reshape": {"target_shape": [2, 3, 3, 2, 4]}}]
    if name.endswith(("3D", "3DTranspose")):
        return [CONV, {"Reshape": {"target_shape": [4, 3, 3, 4]}}]
    if name.endswith(("1D", "1DTranspose", "GRU", "LSTM", "SimpleRNN")):
        return [CONV, {"Reshape": {"target_shape": [12, 12]}}]
    if name == "RepeatVector":
        return [CONV, "Flatten"]
    return [CONV]


def digest(kind: Kind, name: str) -> str:
    """What the object gives, as a digest; an error as its text."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    images = random.random((DATASET.train, *DATASET.image), np.float32)
    labels = np.eye(DATASET.classes, dtype=np.float32)[random.integers(DATASET.classes, size=DATASET.train)]
    try:
        model = build_model(name.lower(), Architecture.model_validate(example(kind, name)), DATASET)
        fuse_update(model)
        logs = model.fit(images, labels, batch_size=20, epochs=2, shuffle=False, verbose=0).history
        arrays = [*model.get_weights(), model.predict(images, verbose=0), np.array(list(logs.values()))]
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    found = hashlib.md5(b"".join(array.tobytes() for array in arrays), usedforsecurity=False).hexdigest()[:12]
    return found if all(np.isfinite(array).all() for array in arrays) else f"{found} not finite"


def print_digests(wanted: list[tuple[Kind, str]]) -> None:
    """Prints a line for each object: kind, name, digest."""
    make_deterministic(1, "portable")
    for kind, name in wanted:
        print(f"{kind}.{name} {digest(kind, name)}", flush=True)


def digests(python: Path | str, wanted: list[tuple[Kind, str]]) -> Iterator[tuple[str, str]]:
    """Runs `print_digests` with a Python, in several processes; yields the names of objects and what they gave."""

    def part(number: int) -> str:
        listed = [f"{kind}.{name}" for kind, name in wanted[number::AT_ONCE]]
        call = [str(python), "-m", "tools.verify.operations", "--digests", *listed]
        return subprocess.run(call, text=True, stdout=subprocess.PIPE, check=True).stdout

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for printed in pool.map(part, range(AT_ONCE)):
            for line in printed.splitlines():
                name, _, found = line.partition(" ")
                yield name, found


@command
def main() -> None:
    """Shows whether every Keras object on offer gives the same bytes on other processors."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--processor", action="append", metavar="NAME", help=f"not {' and '.join(PROCESSORS)}")
    parser.add_argument("--digests", action="store_true", help="print what objects give on this processor")
    parser.add_argument("objects", nargs="*", metavar="KIND.NAME", help="only these, such as layer.Dense")
    arguments = parser.parse_args()
    every = names()
    wanted = [item for item in every if not arguments.objects or ".".join(item) in arguments.objects]
    if arguments.digests:
        print_digests(wanted)
        return
    if not shutil.which(QEMU):
        raise PipelineError(f"no {QEMU} found; on Debian and Ubuntu: apt install qemu-user")
    here = dict(digests(sys.executable, wanted))
    known = {f"{kind}.{name}" for kind, listed in NOT_PORTABLE.items() for name in listed}
    failed = []
    for processor in arguments.processor or PROCESSORS:
        with tempfile.TemporaryDirectory() as folder:
            python = another_processor(processor, Path(folder), processor).commands[0] / "python"
            there = dict(digests(python, wanted))
        differing = [name for name in here if here[name] != there.get(name)]
        print(f"{processor}: {len(here) - len(differing)} of {len(here)} give the same bytes; not:", *differing)
        failed += [name for name in differing if name not in known]
    if failed:
        raise PipelineError(f"not the same on other processors, and not in NOT_PORTABLE: {', '.join(failed)}")


if __name__ == "__main__":
    main()
