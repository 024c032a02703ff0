"""The archive and the prepared arrays."""

import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.common.prepared import Dataset
from stages.data.archive import MEMBERS, Archive, map_archive, read_archive, write_archive
from stages.preprocess import CHUNK, one_hot, prepare, samples, scale_images
from stages.support.errors import PipelineError
from stages.support.params import mistake

from .conftest import tiny_archive


def arrays(archive: Archive) -> dict[str, np.ndarray]:
    return {name: getattr(archive, name) for name in MEMBERS}


@pytest.mark.parametrize("container", ["compressed", "other order", "other label type", "fortran order"])
def test_the_same_arrays_are_the_same_bytes_whatever_the_container(tmp_path: Path, container: str) -> None:
    content = arrays(tiny_archive())
    given, canonical, again = tmp_path / "given.npz", tmp_path / "a.npz", tmp_path / "b.npz"
    write_archive(canonical, tiny_archive())
    match container:
        case "compressed":
            np.savez_compressed(given, **content)
        case "other order":
            np.savez(given, **dict(reversed(content.items())))
        case "other label type":
            np.savez(given, **content | {"y_train": content["y_train"].astype(np.int64)})
        case "fortran order":
            np.savez(given, **content | {"x_test": np.asfortranarray(content["x_test"])})
    assert given.read_bytes() != canonical.read_bytes()
    write_archive(again, read_archive(given))
    assert again.read_bytes() == canonical.read_bytes()
    assert read_archive(given).sha256() == tiny_archive().sha256()


def test_the_digest_tells_content_apart() -> None:
    archive = tiny_archive()
    changed = archive.x_test.copy()
    changed[-1, -1, -1] ^= 1
    reshaped = replace(archive, x_test=archive.x_test.reshape(-1, 4, 16), x_train=archive.x_train.reshape(-1, 4, 16))
    digests = {archive.sha256(), replace(archive, x_test=changed).sha256(), reshaped.sha256()}
    assert len(digests) == 3


BAD = {
    "no archive": (lambda path: path.write_bytes(b"<html>not found</html>"), "not a data set: "),
    "half an archive": (
        lambda path: (write_archive(path, tiny_archive()), path.write_bytes(path.read_bytes()[:9000])),
        "not a data set: ",
    ),
    "a damaged array": (lambda path: damage(path), "not a data set: "),
    "a missing array": (
        lambda path: np.savez(path, x_train=np.zeros((1, 2, 2), np.uint8)),
        "expected the arrays x_train, y_train, x_test, y_test, found x_train",
    ),
    "pickled": (lambda path: save(path, y_test=np.array([{}] * 100)), "not a data set: "),
    "float images": (lambda path: save(path, x_test=np.zeros((100, 8, 8))), "x_test: expected uint8 images"),
    "colour images": (lambda path: save(path, x_train=np.zeros((9, 8, 8, 3), np.uint8)), "x_train: expected uint8"),
    "other size": (
        lambda path: save(path, x_test=np.zeros((100, 9, 9), np.uint8)),
        "x_test: expected images of (8, 8)",
    ),
    "too few labels": (lambda path: save(path, y_test=np.zeros(99, int)), "y_test: expected 100 integer labels"),
    "negative labels": (lambda path: save(path, y_test=np.full(100, -1)), "y_test: expected labels 0…k-1"),
    "a class without images": (
        lambda path: save(path, y_test=np.full(100, 11)),
        "y_train: expected labels 0…k-1 of two or more classes, each with images, found 10 of 12 and none of label 10",
    ),
    "one class": (
        lambda path: save(path, y_train=np.zeros(300, int), y_test=np.zeros(100, int)),
        "y_train: expected labels 0…k-1 of two or more classes, each with images, found 1 of 1 and none of label 1",
    ),
    "gaps": (
        lambda path: save(path, y_train=np.arange(300) % 5 * 2, y_test=np.zeros(100, int)),
        "y_train: expected labels 0…k-1 of two or more classes, each with images, found 5 of 9 and none of label 1",
    ),
    "images as wide as a wall": (
        lambda path: save(path, x_train=np.zeros((300, 1, 2000), np.uint8)),
        "x_train: expected uint8 images (n, height, width) of at most 1000 × 1000 pixels, found uint8 (300, 1, 2000)",
    ),
    "too many members": (lambda path: many_members(path), "not a data set: it lists more than 1000 members"),
}


def save(path: Path, **changed: np.ndarray) -> None:
    np.savez(path, **arrays(tiny_archive()) | changed)


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(1001):
            file.writestr(f"{number}.npy", b"")


def damage(path: Path) -> None:
    write_archive(path, tiny_archive())
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)


def test_what_a_small_file_would_unpack_to_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.data.archive.MAX_BYTES", 50_000_000)
    path = tmp_path / "bomb.npz"
    images = np.zeros((1_000_000, 8, 8), np.uint8)
    np.savez_compressed(path, **arrays(tiny_archive()) | {"x_train": images, "y_train": np.zeros(1_000_000, np.uint8)})
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(
        PipelineError, match=r"bomb.npz: expected arrays of at most 50,000,000 bytes together, found 65"
    ):
        read_archive(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(("spoil", "line"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_one_line_that_names_it(tmp_path: Path, spoil, line: str) -> None:
    path = tmp_path / "bad.npz"
    spoil(path)
    with pytest.raises(PipelineError) as caught:
        read_archive(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_a_canonical_archive_is_memory_mapped(tmp_path: Path) -> None:
    write_archive(tmp_path / "raw.npz", tiny_archive())
    for name, mapped in arrays(map_archive(tmp_path / "raw.npz")).items():
        assert isinstance(mapped, np.memmap)
        np.testing.assert_array_equal(mapped, arrays(tiny_archive())[name])


def test_prepared_arrays_are_scaled_images_and_one_hot_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tiny_archive()
    write_archive(tmp_path / "raw.npz", archive)
    monkeypatch.setattr("stages.preprocess.CHUNK", 70)  # the last chunk is smaller
    mapped = map_archive(tmp_path / "raw.npz")
    dataset = Dataset("tiny", 10, (8, 8, 1), 300)
    prepare(mapped.x_train, mapped.y_train, dataset, 255, tmp_path / "train")
    assert Dataset.read(tmp_path / "train") == dataset
    images, labels = dataset.load(tmp_path / "train")
    assert isinstance(images, np.memmap)
    assert (images.dtype, images.shape) == (np.float32, (300, 8, 8, 1))
    assert (labels.dtype, labels.shape) == (np.float32, (300, 10))
    np.testing.assert_array_equal(images[..., 0], archive.x_train.astype("float32") / 255)
    np.testing.assert_array_equal(labels.argmax(axis=1), archive.y_train)
    assert (labels.sum(axis=1) == 1).all()


def test_preparing_needs_no_more_memory_for_a_larger_set(tmp_path: Path) -> None:
    def peak(times: int) -> int:
        small = tiny_archive(train=1500)
        many = {name: np.repeat(getattr(small, f"{name}_train"), times, axis=0) for name in "xy"}
        write_archive(tmp_path / "raw.npz", replace(small, x_train=many["x"], y_train=many["y"]))
        del many
        tracemalloc.start()
        mapped = map_archive(tmp_path / "raw.npz")
        dataset = Dataset("tiny", 10, (*mapped.x_train.shape[1:], 1), len(mapped.x_train))
        prepare(mapped.x_train, mapped.y_train, dataset, 255, tmp_path / "train")
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    peak(1)  # what the first call imports and caches
    assert peak(24) < peak(8) + CHUNK * 8 * 8


def test_a_pixel_above_pixel_max_is_one_line() -> None:
    with pytest.raises(PipelineError) as caught:
        scale_images(np.full((1, 2, 2), 200, np.uint8), 100)
    assert str(caught.value) == str(mistake("preprocess.pixel_max", "at least the largest pixel, 200", 100))


def test_samples_end_with_the_set_and_start_within_it() -> None:
    archive = tiny_archive()
    images, labels = samples(archive, first=290, count=25)
    np.testing.assert_array_equal(images, archive.x_train[290:])
    np.testing.assert_array_equal(labels, archive.y_train[290:])
    with pytest.raises(PipelineError, match=r"preprocess.samples.first: expected at most 299"):
        samples(archive, first=300, count=1)


def test_one_hot() -> None:
    assert one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_an_archive_keeps_no_time_of_writing(tmp_path: Path) -> None:
    write_archive(tmp_path / "raw.npz", tiny_archive())
    with zipfile.ZipFile(tmp_path / "raw.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
