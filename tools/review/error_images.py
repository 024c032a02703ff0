"""Reads test images from git alone: those that a revision's models get wrong (plots/errors/)."""

from pathlib import Path

import numpy as np

from stages.data.archive import Description
from stages.results import tiles
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, unreadable
from tools.common import results
from tools.common.comparison import read_table
from tools.common.lock import digests, stages_of
from tools.common.revision import Revision


def error_images(revision: Revision, predictions: dict[str, Predictions]) -> tuple[dict[int, np.ndarray], list[str]]:
    """Reads the images by index in the test set, uint8 (height, width); and says which are missing, a line each.

    Image k of an architecture's picture is that of row k of its table of errors, which the same stage wrote. The
    picture must be the one in dvc.lock, and the table that of `predictions`, which are those of the revision, so that
    no image stands beside another's label.
    """
    images, missing = {}, []
    try:
        stages = stages_of(revision)
        shape = Description.parse(revision.read(results.DESCRIPTION) or b"{}", str(results.DESCRIPTION)).image
    except PipelineError as error:
        return {}, [f"no pictures of digits of {revision}: {error}"]
    for name, found in predictions.items():
        path = results.errors(name)
        entry = stages.get(f"report@{name}") or {}
        try:
            content = revision.read(path)
            if content is None:
                missing.append(f"{path}: not in {revision}, so these digits have no pictures")
            elif not (_recorded(entry, revision, path) and _made_from(found, revision, name)):
                missing.append(f"{path} in {revision}: not made from its predictions (dvc.lock), so not shown")
            else:
                with unreadable(f"{path} in {revision}", "a picture of digits"):
                    digits = tiles.read(content, *shape)
                images.update(zip(found.errors["index"], digits, strict=False))
        except PipelineError as error:
            missing.append(f"no pictures of digits of {name}: {error}")
    return images, missing


def _recorded(entry: dict, revision: Revision, path: Path) -> bool:
    """Whether a stage's entry in dvc.lock has the file's digest."""
    recorded = digests(entry, "outs").get(str(path))
    return recorded is not None and recorded == revision.digest(str(path))


def _made_from(predictions: Predictions, revision: Revision, name: str) -> bool:
    """Whether the table of errors beside a picture, of the same stage, is that of these predictions."""
    columns = ["index", "label", "prediction"]
    table = read_table(revision.read(results.errors_table(name)) or b"", str(results.errors_table(name)))
    return set(columns) <= set(table) and table[columns].equals(predictions.errors[columns])
