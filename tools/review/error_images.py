"""Reads test images from git alone: those that a revision's models get wrong (plots/errors/)."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.common import tiles
from tools.common import results
from tools.common.lock import digests, stages_of
from tools.common.predictions import Predictions
from tools.common.revision import Revision


def error_images(revision: Revision, predictions: dict[str, Predictions]) -> tuple[dict[int, np.ndarray], list[str]]:
    """Reads the images by index in the test set, uint8 (height, width); and says which are missing, a line each.

    Image k of an architecture's picture is that of row k of its table of errors, which the same stage wrote. The
    picture must be the one in dvc.lock, and the table that of `predictions`, which are those of the revision, so that
    no image stands beside another's label.
    """
    images, missing = {}, []
    stages = stages_of(revision)
    for name, found in predictions.items():
        path = results.errors(name)
        content = revision.read(path)
        entry = stages.get(f"report@{name}") or stages.get(f"ensemble@{name}") or {}
        if content is None:
            missing.append(f"{path}: not in {revision}, so these digits have no pictures")
        elif not (_recorded(entry, "outs", revision, path) and _made_from(found, entry, revision, name)):
            missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
        else:
            try:
                kept = tiles.read(content, *_shape(revision))
            except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
                missing.append(f"{path} in {revision}: cannot be shown: {error}")
                continue
            images.update(zip(found.errors["index"], kept, strict=False))
    return images, missing


def _recorded(entry: dict, key: str, revision: Revision, path: Path) -> bool:
    """Whether a stage's entry in dvc.lock has the file's digest."""
    content = revision.read(path) or b""
    return digests(entry, key).get(str(path)) == hashlib.md5(content, usedforsecurity=False).hexdigest()


def _made_from(predictions: Predictions, entry: dict, revision: Revision, name: str) -> bool:
    """Whether the table of errors beside a picture, of the same stage, is that of these predictions."""
    formerly = results.PLOTS / "predictions" / f"{name}.json"  # of revisions from before train.seeds existed
    if str(formerly) in digests(entry, "deps"):
        return _recorded(entry, "deps", revision, formerly)
    try:
        table = pd.read_csv(io.BytesIO(revision.read(results.errors_table(name)) or b""))
        columns = ["index", "label", "prediction"]
        return table[columns].equals(predictions.errors[columns])
    except (ValueError, KeyError):  # pandas' errors for empty, damaged and wrongly encoded files are ValueErrors
        return False


def _shape(revision: Revision) -> tuple[int, int]:
    """Reads an image's height and width from data/raw/mnist.json; raises `ValueError` if it does not say."""
    try:
        _, height, width = map(int, revision.read_json(results.DESCRIPTION)["arrays"]["x_test"]["shape"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{results.DESCRIPTION} does not say the images' size") from error
    return height, width
