"""Training state at the end of an epoch, so that a training that was cut short goes on where it was.

A checkpoint is no DVC output: it lies in a folder that git and DVC ignore, and is gone once the
training has succeeded. It is used only by a training that would have written the same: its identity
covers params, code, data, library versions and kernels. Unlike Keras's `BackupAndRestore` it is
written whole or not at all, knows what it belongs to, and carries the history.
"""

import hashlib
import importlib.metadata
import json
import sys
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common.files import replacing

if TYPE_CHECKING:
    import keras

LIBRARIES = ("keras", "numpy", "tensorflow")


def training_identity(recipe: str, data: Iterable[Path]) -> str:
    """Digest of what decides the bytes of a training.

    Args:
        recipe: the params and the kernels, as text.
        data: the files that are read.

    The stages' modules that are loaded, and the libraries' versions, are added.
    """
    digest = hashlib.blake2b(recipe.encode())
    for path in [*data, *_own_modules()]:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    versions = [importlib.metadata.version(name) for name in LIBRARIES]
    digest.update(json.dumps(versions).encode())
    return digest.hexdigest()


def _own_modules() -> list[Path]:
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(path for path in map(Path, filter(None, files)) if path.is_relative_to(Path(__file__).parents[1]))


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training: where it lies, and the identity that it must have."""

    path: Path
    identity: str

    def save(self, model: "keras.Model", history: list[tuple]) -> None:
        """Keeps the state of the model, its optimizer and random generators, and the history so far."""
        state = {f"variable_{index}": variable.numpy() for index, variable in enumerate(_variables(model))}
        with replacing(self.path) as partial, partial.open("wb") as stream:
            np.savez(stream, identity=self.identity, history=json.dumps(history), **state)

    def restore(self, model: "keras.Model") -> list[tuple]:
        """Sets the model to the kept state and returns the history; empty if there is none for this training."""
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                if kept["identity"] != self.identity:
                    return []
                variables = _variables(model)
                values = [kept[f"variable_{index}"] for index in range(len(variables))]
                history = [tuple(row) for row in json.loads(str(kept["history"]))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            print(f"{self.path}: not a checkpoint that can be read; training starts anew", file=sys.stderr)
            return []
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history

    def remove(self) -> None:
        """Removes the checkpoint, if there is one."""
        self.path.unlink(missing_ok=True)


def _variables(model: "keras.Model") -> list:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
