"""Finds the Keras objects that give other bytes on other processors: `python -m research.operations`.

Trains a small architecture around each object that params.yaml may name for a few steps, here and on emulated
processors, and compares digests of what it gives. Writes them to results.csv.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from stages.models.building import build_model
from stages.models.models import fuse_update, import_keras, make_deterministic
from stages.support.architecture import Architecture
from stages.support.errors import PipelineError, command
from stages.support.keras_api import NOT_PORTABLE, Kind
from tests.keras_objects import DATASET, example, names
from tools.common.surroundings import QEMU, emulated_python

RESULTS = Path(__file__).with_name("results.csv")
PROCESSORS = ("Haswell", "EPYC-Rome")


def digest(kind: Kind, name: str) -> str:
    """A digest of the weights, predictions and losses that an object gives, or the text of the error."""
    import_keras().utils.set_random_seed(1)
    random = np.random.default_rng(0)
    images = random.random((DATASET.count, *DATASET.image), np.float32)
    labels = np.eye(DATASET.classes, dtype=np.float32)[random.integers(DATASET.classes, size=DATASET.count)]
    try:
        model = build_model(name.lower(), Architecture.model_validate(example(kind, name)), DATASET)
        fuse_update(model)
        logs = model.fit(images, labels, batch_size=20, epochs=2, shuffle=False, verbose=0).history
        arrays = [*model.get_weights(), model.predict(images, verbose=0), np.array(list(logs.values()))]
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return hashlib.md5(b"".join(array.tobytes() for array in arrays), usedforsecurity=False).hexdigest()


def digests(python: Path | str) -> dict[str, str]:
    """Runs `digest` for all objects with a Python; returns what it gives, by kind and name."""
    call = [str(python), "-m", "research.operations", "--here", *sys.argv[1:]]
    printed = subprocess.run(call, text=True, stdout=subprocess.PIPE, check=True).stdout
    return dict(line.split(" ", 1) for line in printed.splitlines())


@command
def main() -> None:
    """Compares all objects, or those that are named, such as `loss.Poisson`."""
    if sys.argv[1:2] == ["--here"]:
        make_deterministic(1, "portable")
        for kind, name in names():
            if not sys.argv[2:] or f"{kind}.{name}" in sys.argv[2:]:
                print(f"{kind}.{name} {digest(kind, name)}", flush=True)
        return
    if not shutil.which(QEMU):
        raise PipelineError(f"no {QEMU} found; on Debian and Ubuntu: apt install qemu-user")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        emulated = [emulated_python(Path(folder, name), name) for name in PROCESSORS]
        columns = pool.map(digests, [sys.executable, *emulated])
        table = pd.DataFrame(dict(zip(("here", *PROCESSORS), columns, strict=True)))
    table.to_csv(RESULTS, index_label="object", lineterminator="\n")
    differing = table.index[table.ne(table["here"], axis=0).any(axis=1)]
    listed = {f"{kind}.{name}" for kind, each in NOT_PORTABLE.items() for name in each}
    print(f"{len(table) - len(differing)} of {len(table)} objects give the same bytes; not:", *differing)
    print("of these, not in NOT_PORTABLE:", *set(differing) - listed)


if __name__ == "__main__":
    main()
