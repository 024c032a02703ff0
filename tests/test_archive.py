"""The archive and the prepared arrays."""

import hashlib
import io
import json
import re
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.data.archive import MEMBERS, Archive, Description, read_archive, write_archive
from stages.preprocess import CHUNK, one_hot, prepare, read_fetched, samples, scale_images
from stages.support.errors import PipelineError
from stages.support.params import mistake

from .conftest import tiny_archive

TINY = {name: getattr(tiny_archive(), name) for name in MEMBERS}
SAME = {
    "compressed": lambda path: np.savez_compressed(path, **TINY),
    "other order": lambda path: np.savez(path, **dict(reversed(TINY.items()))),
    "fortran order": lambda path: np.savez(path, **TINY | {"x_test": np.asfortranarray(TINY["x_test"])}),
}


@pytest.mark.parametrize("save", SAME.values(), ids=SAME)
def test_the_same_arrays_are_the_same_bytes_whatever_the_container(tmp_path: Path, save: Any) -> None:
    given, canonical, again = tmp_path / "given.npz", tmp_path / "a.npz", tmp_path / "b.npz"
    write_archive(canonical, tiny_archive())
    save(given)
    assert given.read_bytes() != canonical.read_bytes()
    write_archive(again, read_archive(given))
    assert again.read_bytes() == canonical.read_bytes()
    assert read_archive(given).sha256() == tiny_archive().sha256()
    assert {entry.date_time for entry in zipfile.ZipFile(again).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_digest_is_that_of_names_dtypes_shapes_and_values() -> None:
    ones = np.ones((1, 1, 2), np.uint8), np.ones(1, np.uint8)
    text = b"x_train uint8 1x1x2\n\1\1y_train uint8 1\n\1x_test uint8 1x1x2\n\1\1y_test uint8 1\n\1"
    assert Archive(*ones, *ones).sha256() == hashlib.sha256(text).hexdigest()
    archive = tiny_archive()
    changed = archive.x_test.copy()
    changed[-1, -1, -1] ^= 1
    reshaped = replace(archive, x_test=archive.x_test.reshape(-1, 4, 16), x_train=archive.x_train.reshape(-1, 4, 16))
    assert len({archive.sha256(), replace(archive, x_test=changed).sha256(), reshaped.sha256()}) == 3


def images(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def labels(*values: int, count: int = 300) -> np.ndarray:
    return np.resize(values, count)


NO_CLASS = "y_train: expected labels 0…k-1 of two or more classes, each with images, found none of label "
IMAGES = "x_train: expected uint8 images (n, height, width) or (n, height, width, 3)"
BAD = {  # the arrays that differ, or the content, and the message
    "no archive": (lambda _: b"<html>", "not a data set: File is not a zip file"),
    "half an archive": (lambda content: content[:9000], "not a data set: "),
    "a damaged array": (lambda content: content[:5000] + b"x" + content[5001:], "not a data set: Bad CRC-32"),
    "method": (lambda _: packed(99), "not a data set: x_train.npy is compressed in a way that NumPy does not use"),
    "header": (lambda content: content.replace(b"'descr': '|u1'", b"'descr': (((((("), "not a data set: "),
    "pickled": ({"y_test": np.array([{}] * 100)}, "not a data set: y_test.npy does not hold object (100,)"),
    "five axes": ({"x_train": images(9, 8, 8, 3, 1)}, IMAGES),
    "other size": ({"x_test": images(100, 9, 9)}, "x_test: expected images of (8, 8) as in x_train, found (9, 9)"),
    "99 labels": ({"y_test": labels(0, count=99)}, "y_test: expected 100 integer labels, one per image, found int64 ("),
    "below 0": ({"y_test": labels(-1, count=100)}, "y_test: expected labels 0…k-1 with k at most 256, found -1…-1"),
    "large labels": ({"y_train": labels(0, 256)}, "y_train: expected labels 0…k-1 with k at most 256, found 0…256"),
    "a class without images": ({"y_test": labels(11, 0, count=100)}, f"{NO_CLASS}10"),
    "one class": ({"y_train": labels(0), "y_test": labels(0, count=100)}, f"{NO_CLASS}1"),
    "wide images": ({"x_train": images(300, 1, 1001)}, f"{IMAGES}, at most 1000 × 1000 pixels, found"),
}


def packed(method: int) -> bytes:
    """A good archive whose members say that they are compressed by another method."""
    stream = io.BytesIO()
    np.savez(stream, **TINY)
    content = bytearray(stream.getvalue())
    for signature, offset in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        for match in re.finditer(re.escape(signature), stream.getvalue()):
            content[match.start() + offset] = method
    return bytes(content)


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_one_line_that_names_it(tmp_path: Path, content: Any, line: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **TINY | (content if isinstance(content, dict) else {}))
    if callable(content):
        path.write_bytes(content(path.read_bytes()))
    with pytest.raises(PipelineError) as caught:
        read_archive(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_what_a_small_file_would_unpack_to_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("stages.data.archive.MAX_BYTES", 50_000_000)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **TINY | {"x_train": images(1_000_000, 8, 8), "y_train": images(1_000_000)})
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(PipelineError, match=r"bomb.npz: expected arrays of at most 50,000,000 bytes together, found"):
        read_archive(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_prepared_arrays_are_scaled_images_and_one_hot_labels(tmp_path: Path, monkeypatch) -> None:
    archive = tiny_archive()
    monkeypatch.setattr("stages.preprocess.CHUNK", 70)  # the last chunk is smaller
    dataset = Dataset("tiny", 10, (8, 8, 1), 300)
    prepare(archive.x_train, archive.y_train, dataset, 255, tmp_path / "train")
    assert Dataset.read(tmp_path / "train") == dataset
    images, labels = dataset.load(tmp_path / "train")
    assert isinstance(images, np.memmap)
    assert (images.dtype, images.shape) == (np.float32, (300, 8, 8, 1))
    assert (labels.dtype, labels.shape) == (np.float32, (300, 10))
    np.testing.assert_array_equal(images[..., 0], archive.x_train.astype("float32") / 255)
    np.testing.assert_array_equal(labels, np.eye(10)[archive.y_train])


def test_a_description_is_read_as_it_was_written_and_leaves_out_what_mnist_does_not_have(tmp_path: Path) -> None:
    keys = {"dataset", "classes", "image", "count"}
    names = [str(number) for number in range(10)]
    for more in ({}, {"class_names": names}, {"photo": True}, {"class_names": names, "photo": True}):
        dataset = Dataset("tiny", 10, (8, 8, 1), 1, **more)
        dataset.write(tmp_path)
        assert Dataset.read(tmp_path) == dataset
        assert json.loads((tmp_path / "dataset.json").read_text()).keys() == keys | more.keys()

    wide = replace(tiny_archive(), **{f"x_{split}": images(9, 4, 16, 3) for split in ("train", "test")})
    for archive, image in ((replace(wide, class_names=tuple(names)), (4, 16, 3)), (tiny_archive(), (8, 8, 1))):
        description = Description.of(archive, "tiny", ["a", "b"])
        description.write(tmp_path / "mnist.json")
        assert Description.parse((tmp_path / "mnist.json").read_bytes(), "") == description
        assert (description.image, description.class_names) == (image, list(archive.class_names))
        assert ("photo" in json.loads((tmp_path / "mnist.json").read_text())) == (archive.x_train.ndim == 4)


def test_a_description_of_other_data_is_refused(tmp_path: Path) -> None:
    archive, description = tmp_path / "a.npz", tmp_path / "a.json"
    write_archive(archive, tiny_archive())
    other = Description.of(tiny_archive(train=299), "tiny", ["a"])
    other.write(description)
    line = (
        f"{description}: expected the digest of the data, {tiny_archive().sha256()}, found {other.sha256}; make it anew"
    )
    with pytest.raises(PipelineError, match=re.escape(line)):
        read_fetched(archive, description)


def test_preparing_needs_no_more_memory_for_a_larger_set(tmp_path: Path) -> None:
    def peak(times: int) -> int:
        small = tiny_archive(train=1500)
        images, labels = (np.repeat(array, times, axis=0) for array in (small.x_train, small.y_train))
        tracemalloc.start()
        prepare(images, labels, Dataset("tiny", 10, (8, 8, 1), len(images)), 255, tmp_path / "train")
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    peak(1)  # what the first call imports and caches
    assert peak(24) < peak(8) + CHUNK * 8 * 8


def test_images_labels_and_samples() -> None:
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert scale_images(np.full((1, 1, 1), 200, np.uint8), 200).tolist() == [[[[1.0]]]]
    with pytest.raises(PipelineError) as caught:
        scale_images(np.full((1, 2, 2), 200, np.uint8), 199)
    assert str(caught.value) == str(mistake("preprocess.pixel_max", "at least the largest pixel, 200", 199))
    archive = tiny_archive()
    for first in (299, 290, 3):
        shown, labels = samples(archive, first, count=25)
        np.testing.assert_array_equal(shown, archive.x_train[first : first + 25])
        np.testing.assert_array_equal(labels, archive.y_train[first : first + 25])
    with pytest.raises(PipelineError, match=r"preprocess.samples.first: expected at most 299, the last training image"):
        samples(archive, first=300, count=1)
