"""The archive (data/raw/mnist.npz): the arrays of a data set, in the form of Keras's MNIST and CIFAR-10.

`x_train`, `x_test` of uint8 `(n, height, width)`, or `(n, height, width, 3)` for colours, and `y_train`, `y_test` of
integers 0…k-1, `(n,)`; and `class_names`, if the classes have any. It is written canonically (labels as uint8, members
uncompressed and in a fixed order), so the same arrays give the same bytes, whatever file they came from.
"""

import hashlib
import math
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from pydantic import Field

from stages.common.files import replacing, write_json
from stages.common.prepared import MAX_CLASSES
from stages.data import forms
from stages.support.errors import PipelineError, unreadable
from stages.support.json import read_as

MEMBERS = tuple(forms.NAMES)  # in the order of the file
MAX_BYTES = 2**31  # of the arrays together; MNIST has 55 MB
MAX_SIDE = 1000  # pixels
MAX_HEADER = 1000  # characters; NumPy writes 118


@dataclass(frozen=True)
class Archive:
    """The four raw arrays: images uint8 (n, height, width) or (n, height, width, 3), labels uint8 (n,) in 0…classes-1.

    `class_names` has a name for each class, or is empty.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes: the largest label plus one."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def is_photo(self) -> bool:
        """Whether to show images as they are: those in colour, and grey ones whose edges are not mostly black."""
        edges = [self.x_train[:, row] for row in (0, -1)] + [self.x_train[:, :, column] for column in (0, -1)]
        return self.x_train.ndim == 4 or float(np.median(np.concatenate([edge.ravel() for edge in edges]))) > 0

    def sha256(self) -> str:
        """Returns the SHA-256 of the arrays, independent of any container.

        It is over "<name> <dtype> <n>x<height>x<width>\\n" and the bytes in C order of each array in turn.
        """
        digest = hashlib.sha256()
        for name in MEMBERS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype} {'x'.join(map(str, array.shape))}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def read_archive(file: Path | BinaryIO, name: str = "", first_label: int = 0) -> Archive:
    """Reads and checks an archive from any .npz file; `name` is its name in errors, by default the path.

    Prints a line about what was not in the archive's own form (`stages.data.forms`). Raises `PipelineError` if the file
    cannot be read, is not a NumPy archive, has arrays of more than `MAX_BYTES`, or lacks an array, or if an array has
    an unexpected dtype, shape or range.
    """
    where = name or str(file)
    with unreadable(where, "a data set"), zipfile.ZipFile(file) as container:
        members = forms.find_members([member.removesuffix(".npy") for member in container.namelist()], where)
        infos = {key: container.getinfo(f"{member}.npy") for key, member in members.items()}
        if (total := sum(info.file_size for info in infos.values())) > MAX_BYTES:
            raise PipelineError(f"{where}: expected arrays of at most {MAX_BYTES:,} bytes together, found {total:,}")
        arrays = {key: _read_member(container, info) for key, info in infos.items()}
    notes = [f"{member} as {key}" for key, member in members.items() if member != key]
    class_names = tuple(map(str, arrays.pop(forms.CLASS_NAMES, np.array([])).ravel()))
    forms.convert(arrays, first_label, where, notes)
    _check(arrays, where)
    if notes:
        print(f"{where}: took {', '.join(notes)}")
    return Archive(
        **{key: array.astype(np.uint8, copy=False) for key, array in arrays.items()}, class_names=class_names
    )


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
        is_image = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
        if images.dtype != np.uint8 or not is_image or not images.size or max(images.shape[1:3]) > MAX_SIDE:
            expected = (
                f"uint8 images (n, height, width) or (n, height, width, 3), at most {MAX_SIDE} × {MAX_SIDE} pixels"
            )
            raise forms.unexpected(f"{where}: x_{split}", expected, f"{images.dtype} {images.shape}")
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            expected = f"{len(images)} integer labels, one per image"
            raise forms.unexpected(f"{where}: y_{split}", expected, f"{labels.dtype} {labels.shape}")
        if labels.min() < 0 or labels.max() >= MAX_CLASSES:
            expected = f"labels 0…k-1 with k at most {MAX_CLASSES}"
            raise PipelineError(f"{where}: y_{split}: expected {expected}, found {labels.min()}…{labels.max()}")
    size, other = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if size != other:
        raise PipelineError(f"{where}: x_test: expected images of {size} as in x_train, found {other}")
    classes = int(max(arrays["y_train"].max(), arrays["y_test"].max())) + 1
    if absent := set(range(max(classes, 2))) - set(arrays["y_train"].tolist()):
        expected = "labels 0…k-1 of two or more classes, each with images"
        hint = "if labels begin at 1, set first_label: 1 of the source" if absent == {0} else ""
        raise PipelineError(f"{where}: y_train: expected {expected}, found none of label {min(absent)}", hint)


def write_archive(path: Path, archive: Archive) -> None:
    """Writes the archive canonically: the same arrays give the same bytes."""
    arrays: dict[str, Any] = {name: np.ascontiguousarray(getattr(archive, name)) for name in MEMBERS}
    if archive.class_names:
        arrays[forms.CLASS_NAMES] = np.array(archive.class_names)
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
    """Describes the archive (data/raw/mnist.json): name, places, digest, number of classes, arrays by name.

    `class_names` and `photo` (see `Archive`) are left out of the file if they are empty and false, as for MNIST.
    """

    dataset: str
    source: Annotated[list[str], Field(min_length=1)]
    sha256: str
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    arrays: dict[str, ArrayDescription]
    class_names: list[str] = field(default_factory=list)
    photo: bool = False

    @classmethod
    def of(cls, archive: Archive, dataset: str, places: list[str]) -> "Description":
        """Describes an archive that was read from one of these places."""
        arrays = {}
        for name in MEMBERS:
            array = getattr(archive, name)
            digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            arrays[name] = ArrayDescription(list(array.shape), str(array.dtype), digest)
        names = list(archive.class_names)
        return cls(dataset, places, archive.sha256(), archive.classes, arrays, names, archive.is_photo)

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Description":
        """Reads it from JSON. Raises `PipelineError`, which names `where` it was, if it is something else."""
        description = read_as(cls, content, where)
        shapes = {name: len(array.shape) for name, array in description.arrays.items()}
        if shapes not in ({name: dimensions if name[0] == "x" else 1 for name in MEMBERS} for dimensions in (3, 4)):
            raise PipelineError(f"{where}: arrays: expected the shapes of {', '.join(MEMBERS)}, found others")
        return description

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        write_json(path, {key: value for key, value in asdict(self).items() if value not in ([], False)})

    @property
    def image(self) -> tuple[int, int, int]:
        """Height and width of an image, in pixels, and its channels: 1 or 3."""
        _, height, width, *channels = self.arrays["x_test"].shape
        return height, width, channels[0] if channels else 1
