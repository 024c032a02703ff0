"""The archive (data/raw/mnist.npz): the arrays of a data set, in the form of Keras's MNIST.

`x_train`, `x_test` of uint8 `(n, height, width)` and `y_train`, `y_test` of integers 0…k-1, `(n,)`. It is written
canonically (labels as uint8, members uncompressed and in a fixed order), so the same arrays give the same bytes,
whatever file they came from.
"""

import hashlib
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from pydantic import Field

from stages.common.files import replacing
from stages.common.prepared import MAX_CLASSES
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError, unreadable
from stages.support.json import read_as

MADE_BY = "fetch"  # the stage
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
        """Returns counts and sizes in one line, for the screen."""
        counts = f"{len(self.x_train):,} training and {len(self.x_test):,} test images"
        return f"{counts} of {' x '.join(map(str, self.x_train.shape[1:]))} pixels, {self.classes} classes"


def read_archive(path: Path) -> Archive:
    """Reads and checks an archive of this form from any .npz file.

    Each array's header is checked before its data is read, so that a small file cannot unpack to more than
    `MAX_BYTES`. Raises `PipelineError` if the file cannot be read, is not a NumPy archive, lacks a member, or a member
    has an unexpected dtype, shape or range.
    """
    with unreadable(path, "a data set"), path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError("expected a NumPy .npz archive, found no zip file")
        with zipfile.ZipFile(stream) as file:
            members = _checked_members(file, path).items()
            arrays = {
                name: np.lib.format.read_array(file.open(member), max_header_size=MAX_HEADER)
                for name, member in members
            }
    for name in ("y_train", "y_test"):
        low, high = arrays[name].min(), arrays[name].max()
        if low < 0 or high >= MAX_CLASSES:
            expected = f"labels 0…k-1 with k at most {MAX_CLASSES}"
            raise PipelineError(f"{path}: {name}: expected {expected}, found {low}…{high}")
        arrays[name] = arrays[name].astype(np.uint8)
    archive = Archive(**arrays)
    trained = np.unique(archive.y_train)
    if archive.classes < 2 or len(trained) < archive.classes:
        absent = next(label for label in range(MAX_CLASSES) if label not in trained)
        raise PipelineError(
            f"{path}: y_train: expected labels 0…k-1 of two or more classes, each with images, "
            f"found {len(trained)} of {archive.classes} and none of label {absent}"
        )
    return archive


def _checked_members(file: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of the arrays by name, whose headers are those of a data set."""
    names = [name.removesuffix(".npy") for name in file.namelist()]
    if not set(MEMBERS) <= set(names):
        listed = ", ".join(names[: len(MEMBERS)]) + (", …" if len(names) > len(MEMBERS) else "")
        raise PipelineError(f"{path}: expected the arrays {', '.join(MEMBERS)}, found {listed or 'none'}")
    members = {name: file.getinfo(f"{name}.npy") for name in MEMBERS}
    headers = {name: _read_header(file, member) for name, member in members.items()}
    for split in ("train", "test"):
        (pixels, shape), (labels, count) = headers[f"x_{split}"], headers[f"y_{split}"]
        if pixels != np.uint8 or len(shape) != 3 or 0 in shape or max(shape[1:]) > MAX_SIDE:
            raise PipelineError(
                f"{path}: x_{split}: expected uint8 images (n, height, width) of at most {MAX_SIDE} × {MAX_SIDE} "
                f"pixels, found {pixels} {shape}"
            )
        if labels.kind not in "iu" or count != shape[:1]:
            expected = f"{shape[0]} integer labels, one per image"
            raise PipelineError(f"{path}: y_{split}: expected {expected}, found {labels} {count}")
    size, other = headers["x_train"][1][1:], headers["x_test"][1][1:]
    if size != other:
        raise PipelineError(f"{path}: x_test: expected images of {size} as in x_train, found {other}")
    total = sum(member.file_size for member in members.values())
    if total > MAX_BYTES:
        raise PipelineError(f"{path}: expected arrays of at most {MAX_BYTES:,} bytes together, found {total:,}")
    return members


def _read_header(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[np.dtype, tuple[int, ...]]:
    """Reads an array's dtype and shape; raises `ValueError` if its member has not as many bytes as they say."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not use")
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"{member.filename} has the format version {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} does not hold {dtype} {shape}")
    return dtype, shape


def write_archive(path: Path, archive: Archive) -> None:
    """Writes the archive canonically: the same arrays give the same bytes."""
    with replacing(path) as partial, partial.open("wb") as stream:
        arrays: dict[str, Any] = {name: np.ascontiguousarray(getattr(archive, name)) for name in MEMBERS}
        np.savez(stream, **arrays)


def map_archive(path: Path) -> Archive:
    """Memory-maps a canonical archive, whose members are not compressed, so that it is never read as a whole.

    Raises `PipelineError` if it is missing or damaged.
    """
    with made_by(MADE_BY, path), unreadable(path, "what fetch writes"), path.open("rb") as stream:
        with zipfile.ZipFile(stream) as file:
            members = _checked_members(file, path)
        return Archive(**{name: _map_member(member, stream, path) for name, member in members.items()})


def _map_member(member: zipfile.ZipInfo, stream: BinaryIO, path: Path) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    stream.seek(member.header_offset + 26)  # lengths of name and extra field (APPNOTE.TXT 4.3.7, 30 bytes in all)
    stream.seek(member.header_offset + 30 + sum(struct.unpack("<HH", stream.read(4))))
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.uint8:
        raise ValueError(f"{member.filename} has {dtype}")
    return np.memmap(path, dtype, "r", stream.tell(), shape)


@dataclass(frozen=True)
class ArrayDescription:
    """The shape, dtype and SHA-256 of an array of the archive."""

    shape: list[Annotated[int, Field(gt=0)]]
    dtype: str
    sha256: str

    @classmethod
    def of(cls, array: np.ndarray) -> "ArrayDescription":
        digest = hashlib.sha256(np.ascontiguousarray(array).data)
        return cls(list(array.shape), str(array.dtype), digest.hexdigest())


@dataclass(frozen=True)
class Description:
    """Describes the archive (data/raw/mnist.json): name, places, digest, number of classes, arrays by name."""

    dataset: str
    source: Annotated[list[str], Field(min_length=1)]
    sha256: str
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    arrays: dict[str, ArrayDescription]

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
