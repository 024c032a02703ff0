"""Archives as people have them (docs/data.md, "Archives"): what is converted, and what is refused in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.data.archive import MEMBERS, Archive, read_archive, write_archive
from stages.fetch import named, read_place
from stages.support.errors import PipelineError
from stages.support.params import Source

from .conftest import tiny_archive

TINY = {name: getattr(tiny_archive(), name) for name in MEMBERS}
COLOURS = {f"x_{split}": np.stack([TINY[f"x_{split}"]] * 3, axis=3) // [1, 2, 3] for split in ("train", "test")}
COLOUR = TINY | {name: images.astype(np.uint8) for name, images in COLOURS.items()}

Arrays = dict[str, np.ndarray]


def images(change: Callable[[np.ndarray], np.ndarray], of: Arrays = TINY) -> Arrays:
    return of | {name: change(of[name]) for name in ("x_train", "x_test")}


def labels(change: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    return TINY | {name: change(TINY[name]) for name in ("y_train", "y_test")}


def renamed(*names: str) -> Arrays:
    return dict(zip(names, TINY.values(), strict=True))


ROWS = COLOUR | images(lambda x: x[:, :3], COLOUR)
TAKEN = {  # as docs/data.md lists them: the file, what fetch prints, and what it is taken for
    "Keras's": (TINY, "", TINY),
    "colours": (COLOUR, "", COLOUR),
    "three rows of colour": (ROWS, "", ROWS),  # are not channels first
    "other names": (
        renamed("train_images", "train_labels", "test_images", "test_labels"),
        "train_images as x_train, train_labels as y_train, test_images as x_test, test_labels as y_test",
        TINY,
    ),
    "labels (n, 1)": (labels(lambda y: y[:, None]), "labels (n, 1)", TINY),
    "one-hot labels": (labels(lambda y: np.eye(10)[y]), "one-hot labels", TINY),
    "channels first": (images(lambda x: np.moveaxis(x, 3, 1), COLOUR), "channels first", COLOUR),
    "one channel": (images(lambda x: x[..., None]), "images without their axis of one channel", TINY),
    "floats": (images(lambda x: x.astype(np.float32) / 255), "floats in [0, 1] times 255", TINY),
}


@pytest.mark.parametrize("form", TAKEN)
def test_fetch_takes_it_and_prints_what_it_did(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, printed, expected = TAKEN[form]
    np.savez(path := tmp_path / "my.npz", **given)
    archive = read_archive(path)
    assert capsys.readouterr().out == (f"{path}: took {printed}\n" if printed else "")
    for name in MEMBERS:
        np.testing.assert_array_equal(getattr(archive, name), expected[name])
        assert getattr(archive, name).dtype == np.uint8


def test_labels_that_begin_at_1_are_taken_if_params_say_so(tmp_path: Path) -> None:
    np.savez(path := tmp_path / "letters.npz", **labels(lambda y: y + 1))
    source = Source(dataset="letters", places=[str(path)], first_label=1)
    np.testing.assert_array_equal(read_place(str(path), source).y_train, TINY["y_train"])
    with pytest.raises(PipelineError, match=r"none of label 0; if labels begin at 1, set first_label: 1 of the source"):
        read_archive(path)
    np.savez(path, **TINY)
    with pytest.raises(PipelineError, match=r"y_train: expected labels from 1, as first_label .* says, found 0"):
        read_archive(path, first_label=1)


def test_class_names_come_from_the_archive_or_from_params(tmp_path: Path) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    np.savez(path := tmp_path / "my.npz", **TINY, class_names=np.array(names))
    archive = read_archive(path)
    assert archive.class_names == names
    write_archive(path, archive)
    assert read_archive(path).class_names == names
    source = {"dataset": "x", "places": ["my.npz"]}
    assert named(archive, Source(**source)).class_names == names
    other = [f"number {index}" for index in range(10)]
    assert named(archive, Source(**source, class_names=other)).class_names == tuple(other)
    with pytest.raises(PipelineError, match=r"x: class_names: expected 10 different names, found 2: cat, dog"):
        named(archive, Source(**source, class_names=["cat", "dog"]))
    with pytest.raises(PipelineError, match=r"expected 10 different names, found 10: zero, zero, two"):
        named(replace(archive, class_names=("zero", "zero", *names[2:])), Source(**source))


REFUSED = {
    "floats up to 255": (images(lambda x: x.astype(float)), r"\[0, 1\], or uint8, found float64 from 0 to 240"),
    "not a number": (images(lambda x: np.where(x, x / 255, np.nan)), r"x_train: expected floats in \[0, 1\]"),
    "four channels": (images(lambda x: np.stack([x] * 4, axis=3)), r"x_train: .* found uint8 \(300, 8, 8, 4\)"),
    "two labels in a row": (labels(lambda y: np.eye(10)[y] + np.eye(10)[(y + 1) % 10]), "y_train: .* found float64"),
    "halves": (labels(lambda y: (np.eye(10)[y] + np.eye(10)[(y + 1) % 10]) / 2), "y_train: .* found float64"),
    "both names": (TINY | {"train_images": TINY["x_train"]}, "found both x_train and train_images"),
    "other names": (renamed("a", "b", "c", "d"), "expected the arrays x_train, .* found a, b, c, d"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_all_else_is_refused_in_a_line_that_says_where_a_conversion_is_shown(form: str, tmp_path: Path) -> None:
    given, message = REFUSED[form]
    np.savez(path := tmp_path / "my.npz", **given)
    with pytest.raises(PipelineError, match=message) as caught:
        read_archive(path)
    assert str(caught.value).endswith("; see 'Archives' in docs/data.md for how to convert it")


def test_colours_or_dark_on_light_are_photos() -> None:
    assert Archive(**COLOUR).is_photo
    assert not Archive(**TINY).is_photo
    assert Archive(**images(lambda x: 255 - x)).is_photo, "dark on light"
    for bright, is_photo in (((0, 0), True), ((-1, -1), True), ((0,), False)):  # most of the pixels of the four edges
        framed = np.zeros((300, 8, 8), np.uint8)
        for axis, edge in enumerate(bright, start=1):
            np.moveaxis(framed, axis, 0)[edge] = 1
        assert Archive(**TINY | {"x_train": framed}).is_photo == is_photo
