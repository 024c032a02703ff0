"""The array formats: names, shapes, dtypes; reading, checking and writing them.

The **archive** (data/raw/mnist.npz) has the form of Keras's MNIST: `x_train`, `x_test` of uint8 `(n, height, width)`
and `y_train`, `y_test` of integers 0…k-1, `(n,)`. It is written canonically (labels as uint8, members uncompressed
and in a fixed order), so the same arrays give the same bytes, whatever file they came from.

The **prepared** arrays (data/prepared/*.npy) are the models' inputs: float32 images `(n, height, width, 1)` in [0, 1]
and one-hot float32 labels `(n, classes)`, to be memory-mapped.
"""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stages.common.errors import PipelineError, one_line
from stages.common.files import replacing, write_json

MEMBERS = ("x_train", "y_train", "x_test", "y_test")
MAX_CLASSES = 256


@dataclass(frozen=True)
class Archive:
    """The four raw arrays: images uint8 (n, height, width), labels uint8 (n,) in 0…classes-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """Number of classes: the largest label plus one."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    def sha256(self) -> str:
        """Digest of the content, independent of any container.

        SHA-256 over, for each of x_train, y_train, x_test, y_test in turn, the ASCII line
        "<name> <dtype> <n>x<height>x<width>\\n" and the array's bytes in C order.
        """
        digest = hashlib.sha256()
        for name in MEMBERS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype} {'x'.join(map(str, array.shape))}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def summary(self) -> str:
        """A table of counts and shapes, for the screen."""
        lines = [f"{'':8}{'images':>8}  {'shape':10}{'classes':>8}"]
        for split in ("train", "test"):
            images = getattr(self, f"x_{split}")
            size = " x ".join(map(str, images.shape[1:]))
            lines.append(f"{split:8}{len(images):8,}  {size:10}{self.classes:8}")
        return "\n".join(lines)


def read_archive(path: Path) -> Archive:
    """Reads and checks an archive of this form from any .npz file.

    Raises `PipelineError` if it cannot be read, is not a NumPy archive, lacks a member, or a member has an unexpected
    dtype, shape or range.
    """
    try:
        with path.open("rb") as stream:
            arrays = _read_members(path, stream)
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror or error}") from error
    _check_images(path, arrays["x_train"], arrays["x_test"])
    for split in ("train", "test"):
        labels = arrays[f"y_{split}"]
        _check_labels(path, split, labels, count=len(arrays[f"x_{split}"]))
        arrays[f"y_{split}"] = labels.astype(np.uint8)
    archive = Archive(**arrays)
    absent = sorted(set(range(archive.classes)) - set(np.unique(archive.y_train).tolist()))
    if absent:
        raise PipelineError(
            f"{path}: y_train: expected labels 0…{archive.classes - 1}, found no image of label {absent[0]}"
        )
    return archive


def _read_members(path: Path, stream: BinaryIO) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(stream):
            raise ValueError("not a zip file")
        with np.load(stream, allow_pickle=False) as file:
            missing = [name for name in MEMBERS if name not in file.files]
            if missing:
                raise PipelineError(f"{path}: expected the arrays {', '.join(MEMBERS)}, found {', '.join(file.files)}")
            arrays = {name: file[name] for name in MEMBERS}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is not an array")
    except (PipelineError, OSError):
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy's header parser raise a dozen classes for a bad file
        raise PipelineError(
            f"{path}: expected a NumPy .npz archive, found something else: {one_line(error)}"
        ) from error
    return arrays


def _check_images(path: Path, train: np.ndarray, test: np.ndarray) -> None:
    for name, images in (("x_train", train), ("x_test", test)):
        if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape:
            raise PipelineError(
                f"{path}: {name}: expected uint8 images (n, height, width), found {images.dtype} {images.shape}"
            )
    if train.shape[1:] != test.shape[1:]:
        raise PipelineError(
            f"{path}: x_test: expected images of {train.shape[1:]} as in x_train, found {test.shape[1:]}"
        )


def _check_labels(path: Path, split: str, labels: np.ndarray, count: int) -> None:
    name = f"y_{split}"
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise PipelineError(
            f"{path}: {name}: expected {count} integer labels, one per image, found {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise PipelineError(
            f"{path}: {name}: expected labels 0…k-1 with k at most {MAX_CLASSES}, found {labels.min()}…{labels.max()}"
        )


def write_archive(path: Path, archive: Archive) -> None:
    """Writes the archive canonically: the same arrays give the same bytes."""
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **{name: np.ascontiguousarray(getattr(archive, name)) for name in MEMBERS})


def map_archive(path: Path) -> Archive:
    """Memory-maps a canonical archive, whose members are not compressed, so that it is never read as a whole."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        return Archive(**{name: _map_member(archive.getinfo(f"{name}.npy"), stream, path) for name in MEMBERS})


def _map_member(member: zipfile.ZipInfo, stream: BinaryIO, path: Path) -> np.ndarray:
    stream.seek(member.header_offset + 26)  # lengths of name and extra field (APPNOTE.TXT 4.3.7, 30 bytes in all)
    name_length, extra_length = struct.unpack("<HH", stream.read(4))
    stream.seek(name_length + extra_length, io.SEEK_CUR)
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.memmap(path, dtype, "r", stream.tell(), shape)


def write_npy(path: Path, chunks: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    """Writes float32 chunks of consecutive rows as one .npy file of `shape`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(np.ascontiguousarray(chunk, dtype="<f4").data)  # a full disk is an error, no lost memory map


def load_prepared(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Memory-maps the prepared images and one-hot labels of "train" or "test"."""
    images = np.load(folder / f"x_{split}.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / f"y_{split}.npy", mmap_mode="r", allow_pickle=False)
    return images, labels


@dataclass(frozen=True)
class Dataset:
    """What later stages need to know about the data without reading it (data/prepared/dataset.json)."""

    dataset: str
    classes: int
    image: tuple[int, int, int]
    train: int
    test: int
    sha256: str

    def write(self, path: Path) -> None:
        """Writes the description as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Dataset":
        """Reads what `write` wrote."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PipelineError(f"{path}: cannot read: {error.strerror}; make it with: dvc repro preprocess") from error
        return cls(**content | {"image": tuple(content["image"])})
