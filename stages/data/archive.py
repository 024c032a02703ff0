"""The archive (data/raw/mnist.npz): the arrays of a data set, in the form of Keras's MNIST.

`x_train`, `x_test` of uint8 `(n, height, width)` and `y_train`, `y_test` of integers 0…k-1, `(n,)`. It is written
canonically (labels as uint8, members uncompressed and in a fixed order), so the same arrays give the same bytes,
whatever file they came from.
"""

import hashlib
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from pydantic import Field

from stages.common.files import replacing
from stages.common.prepared import MAX_CLASSES
from stages.support.errors import PipelineError, unreadable
from stages.support.json import read_as

DIMENSIONS = {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1}
MEMBERS = tuple(DIMENSIONS)  # in the order of the file
MAX_BYTES = 2**31  # of the arrays together; MNIST has 55 MB
MAX_SIDE = 1000  # pixels
MAX_HEADER = 1000  # characters; NumPy writes 118


@dataclass(frozen=True)
class Archive:
    """The four raw arrays: images uint8 (n, height, width), labels uint8 (n,) in 0…classes-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """The number of classes: the largest label plus one."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    def sha256(self) -> str:
        """Returns the SHA-256 of the content, independent of any container.

        It is over "<name> <dtype> <n>x<height>x<width>\\n" and the bytes in C order of each array in turn.
        """
        digest = hashlib.sha256()
        for name in MEMBERS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype} {'x'.join(map(str, array.shape))}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def read_archive(file: Path | BinaryIO, name: str = "") -> Archive:
    """Reads and checks an archive of this form from any .npz file; `name` is its name in errors, by default the path.

    Raises `PipelineError` if it cannot be read, is something else, or has more than `MAX_BYTES`, or if an array is
    missing or has an unexpected dtype, shape or range.
    """
    where = name or str(file)
    with unreadable(where, "a data set"), zipfile.ZipFile(file) as container:
        names = [member.removesuffix(".npy") for member in container.namelist()]
        if not set(MEMBERS) <= set(names):
            listed = ", ".join(names[: len(MEMBERS)]) + (", …" if len(names) > len(MEMBERS) else "")
            raise PipelineError(f"{where}: expected the arrays {', '.join(MEMBERS)}, found {listed or 'none'}")
        members = {key: container.getinfo(f"{key}.npy") for key in MEMBERS}
        if (total := sum(member.file_size for member in members.values())) > MAX_BYTES:
            raise PipelineError(f"{where}: expected arrays of at most {MAX_BYTES:,} bytes together, found {total:,}")
        arrays = {key: _read_member(container, member) for key, member in members.items()}
    _check(arrays, where)
    return Archive(**{key: array.astype(np.uint8, copy=False) for key, array in arrays.items()})


def _read_member(container: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Reads an array. Raises `ValueError` if its member does not have as many bytes as its header has elements."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not use")
    with container.open(member) as stream:
        if (version := np.lib.format.read_magic(stream)) != (1, 0):
            raise ValueError(f"{member.filename} has the format version {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        content = stream.read()  # at most the member's size in the zip file, of which the sum was checked
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member.filename} does not hold {dtype} {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _check(arrays: dict[str, np.ndarray], where: str) -> None:
    """Raises `PipelineError` if arrays are not those of a data set."""
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if images.dtype != np.uint8 or images.ndim != 3 or not images.size or max(images.shape[1:]) > MAX_SIDE:
            expected = f"uint8 images (n, height, width) of at most {MAX_SIDE} × {MAX_SIDE} pixels"
            raise PipelineError(f"{where}: x_{split}: expected {expected}, found {images.dtype} {images.shape}")
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            expected = f"{len(images)} integer labels, one per image"
            raise PipelineError(f"{where}: y_{split}: expected {expected}, found {labels.dtype} {labels.shape}")
        if labels.min() < 0 or labels.max() >= MAX_CLASSES:
            expected = f"labels 0…k-1 with k at most {MAX_CLASSES}"
            raise PipelineError(f"{where}: y_{split}: expected {expected}, found {labels.min()}…{labels.max()}")
    size, other = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if size != other:
        raise PipelineError(f"{where}: x_test: expected images of {size} as in x_train, found {other}")
    classes = int(max(arrays["y_train"].max(), arrays["y_test"].max())) + 1
    if absent := set(range(max(classes, 2))) - set(arrays["y_train"].tolist()):
        expected = "labels 0…k-1 of two or more classes, each with images"
        raise PipelineError(f"{where}: y_train: expected {expected}, found none of label {min(absent)}")


def write_archive(path: Path, archive: Archive) -> None:
    """Writes the archive canonically: the same arrays give the same bytes."""
    arrays: dict[str, Any] = {name: np.ascontiguousarray(getattr(archive, name)) for name in MEMBERS}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)


@dataclass(frozen=True)
class ArrayDescription:
    """The shape, dtype and SHA-256 of an array of the archive."""

    shape: list[Annotated[int, Field(gt=0)]]
    dtype: str
    sha256: str


@dataclass(frozen=True)
class Description:
    """Describes the archive (data/raw/mnist.json): name, places, digest, number of classes, arrays by name."""

    dataset: str
    source: Annotated[list[str], Field(min_length=1)]
    sha256: str
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    arrays: dict[str, ArrayDescription]

    @classmethod
    def of(cls, archive: Archive, dataset: str, places: list[str]) -> "Description":
        """Describes an archive that was read from one of these places."""
        arrays = {}
        for name in MEMBERS:
            array = getattr(archive, name)
            digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            arrays[name] = ArrayDescription(list(array.shape), str(array.dtype), digest)
        return cls(dataset, places, archive.sha256(), archive.classes, arrays)

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Description":
        """Reads it from JSON. Raises `PipelineError`, which names `where` it was, if it is something else."""
        description = read_as(cls, content, where)
        if {name: len(array.shape) for name, array in description.arrays.items()} != DIMENSIONS:
            raise PipelineError(f"{where}: arrays: expected the shapes of {', '.join(MEMBERS)}, found others")
        return description

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        _, height, width = self.arrays["x_test"].shape
        return height, width
