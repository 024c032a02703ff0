"""Pictures of test images from git alone: those that a revision's models read wrong (plots/errors/)."""

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
    """The images by index in the test set, uint8 (height, width); and why an architecture's are missing, a line each.

    `predictions` are those of the revision's architectures: image k of a picture is that of the k-th
    most confident error. dvc.lock must say that the picture was made from just these predictions, so
    that no image ever stands beside another's label.
    """
    images, missing = {}, []
    stages = stages_of(revision)
    for name, found in predictions.items():
        path = results.errors(name)
        content = revision.read(path)
        entry = stages.get(f"report@{name}", {})
        if content is None:
            missing.append(f"{path}: not in {revision}, so these digits are shown without pictures")
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
    """Whether dvc.lock's entry of a stage has the digest of a file as it is."""
    return digests(entry, key).get(str(path)) == hashlib.md5(revision.read(path), usedforsecurity=False).hexdigest()


def _shape(revision: Revision) -> tuple[int, int]:
    """Height and width of an image; raises `ValueError` if data/raw/mnist.json does not say."""
    try:
        _, height, width = map(int, revision.read_json(results.DESCRIPTION)["arrays"]["x_test"]["shape"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{results.DESCRIPTION} does not say the images' size") from error
    return height, width
