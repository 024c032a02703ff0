"""The array formats: names, shapes, dtypes; reading, checking and writing them.

The **archive** (data/raw/mnist.npz) has the form of Keras's MNIST: `x_train`, `x_test` of uint8 `(n, height, width)`
and `y_train`, `y_test` of integers 0…k-1, `(n,)`. It is written canonically (labels as uint8, members uncompressed
and in a fixed order), so the same arrays give the same bytes, whatever file they came from.

The **prepared** arrays (data/prepared/*.npy) are the models' inputs: float32 images `(n, height, width, 1)` in [0, 1]
and one-hot float32 labels `(n, classes)`, to be memory-mapped.
"""

import hashlib
import io
import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
from pydantic import Field, TypeAdapter

from stages.common.errors import PipelineError, one_line
from stages.common.files import read_bytes, replacing, write_json
from stages.common.json import read_as

_MAKE = {stage: f"make it anew with: dvc repro {stage}" for stage in ("fetch", "preprocess")}
MEMBERS = ("x_train", "y_train", "x_test", "y_test")
MAX_CLASSES = 256
MAX_BYTES = 2**31  # of the arrays together; MNIST has 55 MB
MAX_SIDE = 1000  # pixels
MAX_MEMBERS = 1000  # of a zip file
MAX_HEADER = 1000  # characters; NumPy writes 118
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


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

    Each array's header is checked before its data is read, so that a small file cannot unpack to more than
    `MAX_BYTES`. Raises `PipelineError` if the file cannot be read, is not a NumPy archive, lacks a member, or a member
    has an unexpected dtype, shape or range.
    """
    try:
        with path.open("rb") as stream:
            arrays = _read_members(path, stream)
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror or error}") from error
    for split in ("train", "test"):
        labels = arrays[f"y_{split}"]
        _check_labels(path, split, labels)
        arrays[f"y_{split}"] = labels.astype(np.uint8)
    archive = Archive(**arrays)
    found = np.unique(archive.y_train)
    if archive.classes < 2 or len(found) < archive.classes:
        absent = next(label for label in range(MAX_CLASSES) if label not in found)
        raise PipelineError(
            f"{path}: y_train: expected labels 0…k-1 of two or more classes, each with images, "
            f"found {len(found)} of {archive.classes} and none of label {absent}"
        )
    return archive


def _read_members(path: Path, stream: BinaryIO) -> dict[str, np.ndarray]:
    try:
        _check_directory(stream)
        with zipfile.ZipFile(stream) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
            if not set(MEMBERS) <= set(names):
                listed = ", ".join(names[: len(MEMBERS)]) + (", …" if len(names) > len(MEMBERS) else "")
                raise PipelineError(f"{path}: expected the arrays {', '.join(MEMBERS)}, found {listed or 'none'}")
            members = {name: file.getinfo(f"{name}.npy") for name in MEMBERS}
            _check_headers(path, {name: _read_header(file, member) for name, member in members.items()})
            return {name: _read_array(file, member) for name, member in members.items()}
    except (PipelineError, OSError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise a dozen classes for a bad file
        reason = one_line(error)[:200]
        raise PipelineError(f"{path}: not a data set: {reason}; expected a NumPy .npz archive") from error


def _check_directory(stream: BinaryIO) -> None:
    """Raises `ValueError` if the stream is not a zip file, or lists more than `MAX_MEMBERS`, as each takes memory."""
    if not zipfile.is_zipfile(stream):
        raise ValueError("this is not a zip file")
    stream.seek(max(0, stream.seek(0, io.SEEK_END) - 2**16 - 22))
    _, _, record = stream.read().rpartition(b"PK\5\6")  # "end of central directory" (APPNOTE.TXT 4.3.16)
    count, size = struct.unpack_from("<HL", record, 6)
    if count > MAX_MEMBERS or size > MAX_MEMBERS * 2**10:
        raise ValueError(f"it lists more than {MAX_MEMBERS} members")
    stream.seek(0)


def _read_header(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[np.dtype, tuple[int, ...]]:
    """Reads an array's dtype and shape; raises `ValueError` if its member has not as many bytes as they say."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not use")
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"{member.filename} has the format version {version}")
        shape, _, dtype = HEADERS[version](stream, max_header_size=MAX_HEADER)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} does not hold {dtype} {shape}")
    return dtype, shape


def _read_array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER)


def _check_headers(path: Path, headers: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    for name in ("x_train", "x_test"):
        dtype, shape = headers[name]
        if dtype != np.uint8 or len(shape) != 3 or 0 in shape or max(shape[1:]) > MAX_SIDE:
            raise PipelineError(
                f"{path}: {name}: expected uint8 images (n, height, width) of at most {MAX_SIDE} × {MAX_SIDE} pixels, "
                f"found {dtype} {shape}"
            )
    size = headers["x_train"][1][1:]
    if headers["x_test"][1][1:] != size:
        raise PipelineError(
            f"{path}: x_test: expected images of {size} as in x_train, found {headers['x_test'][1][1:]}"
        )
    for split in ("train", "test"):
        dtype, shape = headers[f"y_{split}"]
        count = headers[f"x_{split}"][1][0]
        if dtype.kind not in "iu" or shape != (count,):
            raise PipelineError(
                f"{path}: y_{split}: expected {count} integer labels, one per image, found {dtype} {shape}"
            )
    total = sum(math.prod(shape) * dtype.itemsize for dtype, shape in headers.values())
    if total > MAX_BYTES:
        raise PipelineError(f"{path}: expected arrays of at most {MAX_BYTES:,} bytes together, found {total:,}")


def _check_labels(path: Path, split: str, labels: np.ndarray) -> None:
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise PipelineError(
            f"{path}: y_{split}: expected labels 0…k-1 with k at most {MAX_CLASSES}, "
            f"found {labels.min()}…{labels.max()}"
        )


def write_archive(path: Path, archive: Archive) -> None:
    """Writes the archive canonically: the same arrays give the same bytes."""
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **{name: np.ascontiguousarray(getattr(archive, name)) for name in MEMBERS})


def map_archive(path: Path) -> Archive:
    """Memory-maps a canonical archive, whose members are not compressed, so that it is never read as a whole.

    Raises `PipelineError` if it is missing or damaged.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as file:
            members = {name: file.getinfo(f"{name}.npy") for name in MEMBERS}
            _check_headers(path, {name: _read_header(file, member) for name, member in members.items()})
            return Archive(**{name: _map_member(member, stream, path) for name, member in members.items()})
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror or error}; {_MAKE['fetch']}") from error
    except PipelineError:
        raise
    except Exception as error:  # as in _read_members
        raise PipelineError(f"{path}: not what fetch writes: {one_line(error)[:200]}; {_MAKE['fetch']}") from error


def _map_member(member: zipfile.ZipInfo, stream: BinaryIO, path: Path) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    stream.seek(member.header_offset + 26)  # lengths of name and extra field (APPNOTE.TXT 4.3.7, 30 bytes in all)
    name_length, extra_length = struct.unpack("<HH", stream.read(4))
    stream.seek(name_length + extra_length, io.SEEK_CUR)
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.uint8:
        raise ValueError(f"{member.filename} has {dtype}")
    return np.memmap(path, dtype, "r", stream.tell(), shape)


def write_npy(path: Path, chunks: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    """Writes float32 chunks of consecutive rows as one .npy file of `shape`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(np.ascontiguousarray(chunk, dtype="<f4").data)  # a full disk is an error, no lost memory map


@dataclass(frozen=True)
class ArrayDescription:
    """The shape, dtype and SHA-256 of an array of the archive."""

    shape: list[Annotated[int, Field(gt=0)]]
    dtype: str
    sha256: str


@dataclass(frozen=True)
class Description:
    """What fetch says of the archive (data/raw/mnist.json): name, places, digest, number of classes, arrays by name."""

    dataset: str
    source: list[str]
    sha256: str
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    arrays: dict[str, ArrayDescription]

    @classmethod
    def parse(cls, content: bytes, where: str, hint: str = "") -> "Description":
        """Reads it from JSON. Raises `PipelineError`, which names `where` it was, if it is something else."""
        found = read_as(TypeAdapter(cls), content, where, hint)
        if {name: len(array.shape) for name, array in found.arrays.items()} != dict(
            zip(MEMBERS, (3, 1, 3, 1), strict=True)
        ):
            raise PipelineError(f"{where}: arrays: expected the shapes of {', '.join(MEMBERS)}, found others{hint}")
        return found

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        _, height, width = self.arrays["x_test"].shape
        return height, width


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
        """Reads what `write` wrote. Raises `PipelineError` if the file is missing or is something else."""
        return read_as(TypeAdapter(cls), read_bytes(path, _MAKE["preprocess"]), str(path), f"; {_MAKE['preprocess']}")

    def load(self, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Memory-maps the prepared images and one-hot labels of "train" or "test".

        Raises `PipelineError` if a file is missing, is damaged, or is not of this data set.
        """
        count = self.train if split == "train" else self.test
        images = _map_npy(folder / f"x_{split}.npy", (count, *self.image))
        return images, _map_npy(folder / f"y_{split}.npy", (count, self.classes))


def _map_npy(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-maps an array that `write_npy` wrote."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=MAX_HEADER)
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror or error}; {_MAKE['preprocess']}") from error
    except Exception as error:  # as in _read_members
        raise PipelineError(f"{path}: not an array: {one_line(error)[:200]}; {_MAKE['preprocess']}") from error
    if not isinstance(array, np.memmap) or (array.dtype, array.shape) != (np.float32, shape):
        found = f"{getattr(array, 'dtype', 'no array')} {getattr(array, 'shape', '')}"
        raise PipelineError(f"{path}: expected float32 {shape}, found {found}; {_MAKE['preprocess']}")
    return array
