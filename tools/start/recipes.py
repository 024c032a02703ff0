"""Chooses a form for pictures, and three small architectures that suit the data."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from stages.data.archive import MAX_BYTES, Archive
from stages.data.folders import Picture

SIDE = 64  # pixels of the longer side that pictures are scaled to, so that a first run takes minutes
DENSE_SIDE = 32  # pixels; with more, a dense layer has millions of parameters
FINAL_SIDE = 8  # pixels that convolutions and pooling end at
IMAGES_SEEN = 60_000  # images that a training sees, over all epochs


def choose_form(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Returns `{"image": …}` for the source in params.yaml; empty if the pictures are alike and not large."""
    sizes, modes = [picture.size for picture in pictures], {picture.mode for picture in pictures}
    height, width = (statistics.median_low(lengths) for lengths in zip(*sizes, strict=True))
    mode = "RGB" if "RGB" in modes else "L"
    most = MAX_BYTES // len(pictures) // len(mode)  # pixels, for all to fit
    form: dict[str, Any] = {}
    if len(set(sizes)) > 1 or max(height, width) > 2 * SIDE or height * width > most:
        form["size"] = [*_within(min(SIDE, int(most**0.5)), height, width)]
    form |= {"mode": mode} if len(modes) > 1 else {}
    return {"image": form} if form else {}


def architectures(archive: Archive) -> str:
    """Returns text for params.yaml: a dense network, a convolutional one, and the same with augmentation."""
    count, height, width, *channels = archive.x_train.shape
    held_out = set(archive.y_train[int(count * 0.8) :].tolist())  # lacks a class if images are sorted by label
    split = ", validation_split: 0.2" if len(held_out) == archive.classes else ""
    epochs, batch = min(max(IMAGES_SEEN // count, 5), 40), 128 if count >= 10_000 else 32
    convolutions, filters, shorter = "", 16, min(_within(2 * SIDE, height, width))
    while shorter > FINAL_SIDE or not convolutions:
        convolutions += f"      - Conv2D: {{filters: {filters}, kernel_size: 3, padding: same, activation: relu}}\n"
        convolutions += "      - MaxPooling2D: {pool_size: 2}\n" if shorter > 1 else ""
        filters, shorter = min(2 * filters, 64), shorter // 2
    flip = "      - RandomFlip: {mode: horizontal} # not where left and right matter, as in text\n"
    return Template(Path(__file__).with_name("architectures.yaml").read_text(encoding="utf-8")).substitute(
        few_pixels=_resizing(DENSE_SIDE, height, width),
        pixels=_resizing(2 * SIDE, height, width),
        convolutions=convolutions,
        flip=flip if channels else "",
        fill="nearest" if archive.is_photo else "constant",
        fit=f"{{epochs: {epochs}, batch_size: {batch}{split}}}",
    )


def _within(side: int, height: int, width: int) -> tuple[int, int]:
    scale = min(1, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resizing(side: int, height: int, width: int) -> str:
    new = _within(side, height, width)
    layer = f"      - Resizing: {{height: {new[0]}, width: {new[1]}, antialias: true}}\n"
    return layer if new != (height, width) else ""
