"""Reads test images from git alone: those that a revision's models get wrong (plots/errors/)."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common import tables, tiles
from tools.common import results
from tools.common.lock import digests, stages_of
from tools.common.predictions import Predictions
from tools.common.revision import Revision


def error_images(revision: Revision, predictions: dict[str, Predictions]) -> tuple[dict[int, np.ndarray], list[str]]:
    """Reads the images by index in the test set, uint8 (height, width); and says which are missing, a line each.

    Image k of an architecture's picture is that of its k-th most confident error, by `predictions`, which are those of
    the revision. dvc.lock must say that the picture was made from just these predictions, so that no image stands
    beside another's label.
    """
    images, missing = {}, []
    stages = stages_of(revision)
    for name, found in predictions.items():
        path = results.errors(name)
        content = revision.read(path)
        entry = stages.get(f"report@{name}", {})
        if content is None:
            missing.append(f"{path}: not in {revision}, so these digits have no pictures")
        elif not (
            _recorded(entry, "outs", revision, path) and _recorded(entry, "deps", revision, results.predictions(name))
        ):
            missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
        else:
            try:
                kept = tiles.read(content, *_shape(revision))
            except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
                missing.append(f"{path} in {revision}: cannot be shown: {error}")
                continue
            worst = tables.most_confident(tables.errors(found.table), len(kept))["index"]
            images.update(zip(worst, kept, strict=False))
    return images, missing


def _recorded(entry: dict, key: str, revision: Revision, path: Path) -> bool:
    """Whether a stage's entry in dvc.lock has the file's digest."""
    return digests(entry, key).get(str(path)) == hashlib.md5(revision.read(path), usedforsecurity=False).hexdigest()


def _shape(revision: Revision) -> tuple[int, int]:
    """Reads an image's height and width from data/raw/mnist.json; raises `ValueError` if it does not say."""
    try:
        _, height, width = map(int, revision.read_json(results.DESCRIPTION)["arrays"]["x_test"]["shape"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{results.DESCRIPTION} does not say the images' size") from error
    return height, width
