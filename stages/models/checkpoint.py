"""Saves the training state after each epoch, so that an interrupted training can resume.

Checkpoints are not DVC outputs. They are in a folder that git and DVC ignore, and are deleted when
all seeds of the stage have been trained. A training resumes only from a checkpoint of its own identity
(stages/models/identity.py). Unlike Keras's `BackupAndRestore`, a checkpoint is written whole or not at
all, has this identity, and includes the history.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common.files import replacing

if TYPE_CHECKING:
    import keras

CHECKPOINTS = Path(".checkpoints")  # the folder for all architectures


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training: its path, and the identity it must have."""

    path: Path
    identity: str

    def save(self, model: "keras.Model", history: list[tuple]) -> None:
        """Saves the state of the model, its optimizer and random generators, and the history so far."""
        state = {f"variable_{index}": variable.numpy() for index, variable in enumerate(_variables(model))}
        with replacing(self.path) as partial, partial.open("wb") as stream:
            np.savez(stream, identity=self.identity, history=json.dumps(history), **state)

    def restore(self, model: "keras.Model") -> list[tuple]:
        """Restores the model and returns the history, empty if there is no checkpoint of this training."""
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                if saved["identity"] != self.identity:
                    return []
                variables = _variables(model)
                values = [
                    saved[f"variable_{index}"].reshape(variable.shape) for index, variable in enumerate(variables)
                ]
                history = [tuple(row) for row in json.loads(str(saved["history"]))]
        except FileNotFoundError:
            return []
        except Exception:  # zipfile, zlib, NumPy and json raise a dozen classes for a damaged file
            print(f"{self.path}: cannot read this checkpoint; training starts from the first epoch", file=sys.stderr)
            return []
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history


def _variables(model: "keras.Model") -> list:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
