"""Counts how pictures of digits are read: `python -m research.digits MODEL`, such as data/models/cnn/10.keras.

Draws the first test digits as pictures of 14 kinds, dark on light and light on dark, and classifies each as
`python -m tools.digits classify` does. Writes results.csv.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.common.prepared import Dataset
from stages.models.models import import_keras
from stages.support.errors import PipelineError, command
from tools.common.results import TEST_DATA
from tools.digits.own import prepare
from tools.digits.pictures import read

RESULTS = Path(__file__).with_name("results.csv")
DIGITS = 300
INK, PAPER = 40, 225
Picture = np.ndarray  # uint8 or uint16 (height, width)


def cut_out(digit: np.ndarray) -> np.ndarray:
    """Cuts off what is empty around a digit."""
    (cut,) = ndimage.find_objects(np.uint8(digit > 0))
    return digit[cut]


def page(digit: np.ndarray, random: np.random.Generator, margin: float = 0.35) -> Image.Image:
    """Draws a digit, float32 (28, 28), dark on light, 60 to 400 pixels wide, with a margin of paper around it."""
    ink = Image.fromarray(np.uint8(255 * cut_out(digit)))
    scale = random.integers(60, 400) / max(ink.size)
    ink = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.BICUBIC)
    sides = [round(side + 2 * margin * max(ink.size)) for side in ink.size]
    paper = Image.new("L", sides, PAPER)
    left, top = (round(random.uniform(0.2, 0.8) * (whole - part)) for whole, part in zip(sides, ink.size, strict=True))
    paper.paste(INK, (left, top), ink)
    return paper


def lines(digit: np.ndarray, random: np.random.Generator, form: str) -> Image.Image:
    """Draws a digit with straight lines: a frame or a field around it, an underline, or ruled paper behind it."""
    picture = page(digit, random, margin=0.6)
    width, height = picture.size
    draw, thick = ImageDraw.Draw(picture), max(2, min(picture.size) // 60)
    if form == "frame":
        draw.rectangle((2, 2, width - 3, height - 3), outline=INK, width=thick)
    elif form == "field":
        inset = 0.07 * min(picture.size)
        draw.rectangle((inset, inset, width - inset, height - inset), outline=INK, width=thick)
    else:
        step = {"ruled": 0.25, "squared": 0.12}[form] * height
        for at in np.arange(random.uniform(0, step), height, step):
            draw.line((0, at, width, at), fill=INK + 60, width=thick)
        for at in np.arange(random.uniform(0, step), width, step) if form == "squared" else ():
            draw.line((at, 0, at, height), fill=INK + 60, width=thick)
    return picture


def on_a_desk(digit: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Lays a sheet with a digit, turned by up to 10 degrees, on a dark desk."""
    sheet = page(digit, random).convert("LA")
    sheet = sheet.rotate(random.uniform(-10, 10), expand=True, resample=Image.Resampling.BICUBIC)
    desk = Image.new("L", [round(1.3 * side) for side in sheet.size], 60)
    desk.paste(sheet.getchannel("L"), [round(0.1 * side) for side in sheet.size], sheet.getchannel("A"))
    return desk


def photo(digit: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Draws a digit in uneven light, with grain."""
    picture = page(digit, random)
    light = np.linspace(random.uniform(0.5, 0.8), 1.05, picture.width)
    values = np.asarray(picture) * light + random.normal(0, 5, (picture.height, picture.width))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def small(picture: Image.Image) -> Image.Image:
    """Scales a picture down to at most 40 x 40 pixels."""
    picture.thumbnail((40, 40))
    return picture


def beside(one: np.ndarray, other: np.ndarray, random: np.random.Generator, gap: float) -> Image.Image:
    """Draws two digits side by side; the gap is a part of their height, below 0 where they overlap."""
    left, right = cut_out(one), cut_out(other)
    height, space = 20, round(20 * gap)
    both = np.zeros((height, left.shape[1] + right.shape[1] + space), np.float32)
    for digit, place in ((left, 0), (right, left.shape[1] + space)):
        top = (height - digit.shape[0]) // 2
        both[top : top + digit.shape[0], place : place + digit.shape[1]] += digit
    return page(both.clip(0, 1), random)


KINDS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Image.Image]] = {
    "clean": lambda digit, _, random: page(digit, random),
    "cut out closely": lambda digit, _, random: page(digit, random, margin=0.02),
    "small": lambda digit, _, random: small(page(digit, random)),
    "uneven light, grain": lambda digit, _, random: photo(digit, random),
    "JPEG": lambda digit, _, random: photo(digit, random),
    "12 bits": lambda digit, _, random: Image.fromarray(np.asarray(page(digit, random)).astype(np.uint16) * 16),
    "frame at the border": lambda digit, _, random: lines(digit, random, "frame"),
    "form's field": lambda digit, _, random: lines(digit, random, "field"),
    "ruled paper": lambda digit, _, random: lines(digit, random, "ruled"),
    "squared paper": lambda digit, _, random: lines(digit, random, "squared"),
    "tilted sheet on a desk": lambda digit, _, random: on_a_desk(digit, random),
    "two digits": lambda digit, other, random: beside(digit, other, random, 0.3),
    "two digits, close": lambda digit, other, random: beside(digit, other, random, 0.05),
    "two digits that touch": lambda digit, other, random: beside(digit, other, random, -0.1),
}


def pictures(images: np.ndarray) -> Iterator[tuple[str, bool, int, Image.Image]]:
    """Yields kind, whether light on dark, number of the digit, and picture."""
    for kind, draw in KINDS.items():
        for number in range(DIGITS):
            random = np.random.default_rng(number)
            picture = draw(images[number], images[number + DIGITS], random)
            yield kind, False, number, picture
            values = np.asarray(picture)
            yield kind, True, number, Image.fromarray((4095 if kind == "12 bits" else 255) - values)


def seen(picture: Image.Image, file: Path) -> tuple[np.ndarray | None, str]:
    """What the model sees, float32 (28, 28), and the notes; or `None` and why the picture is refused."""
    picture.save(file)
    try:
        content, notes = read(file)
        image, more = prepare(content, 28, 28)
        return image, ", ".join(notes + more)
    except (PipelineError, ValueError) as error:
        return None, str(error)


@command
def main() -> None:
    """Counts and prints how many pictures of each kind are read right, wrong with a note, wrong without, or refused."""
    images, one_hot = Dataset.read(TEST_DATA).load(TEST_DATA)
    rows, inputs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for kind, inverted, number, picture in pictures(images[..., 0]):
            file = Path(folder, "picture.jpg" if kind == "JPEG" else "picture.tiff")
            image, note = seen(picture, file)
            rows.append(
                {"kind": kind, "light on dark": inverted, "digit": number, "refused": image is None, "note": note}
            )
            inputs.append(np.zeros((28, 28), np.float32) if image is None else image)
    table = pd.DataFrame(rows)
    model = import_keras().saving.load_model(sys.argv[1])
    table["prediction"] = model.predict(np.stack(inputs)[..., np.newaxis], batch_size=1000, verbose=0).argmax(1)
    is_right = table["prediction"] == one_hot.argmax(1)[table["digit"]]
    right = ~table["refused"] & is_right & ~table["kind"].str.startswith("two")
    wrong = ~table["refused"] & ~right
    table = table.assign(right=right, noted=wrong & (table["note"] != ""), silent=wrong & (table["note"] == ""))
    counts = table.groupby(["kind", "light on dark"], sort=False)[["right", "refused", "noted", "silent"]].sum()
    counts.to_csv(RESULTS)
    print(counts)
    print(f"{len(table):,} pictures: {counts.sum().to_dict()}")


if __name__ == "__main__":
    main()
