"""The prepared data (data/prepared): for each split, the models' inputs as NumPy files, and their description.

`images.npy` is float32 `(n, height, width, channels)` in [0, 1], `labels.npy` one-hot float32 `(n, classes)`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from stages.common.files import read_bytes, replacing, write_json
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError, unreadable
from stages.support.json import read_as

FILES = DESCRIPTION, IMAGES, LABELS = "dataset.json", "images.npy", "labels.npy"  # of a split
MAX_CLASSES = 256  # a label is a byte in the archive
MADE_BY = "preprocess"  # the stage


def write_npy(path: Path, chunks: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    """Writes float32 chunks of consecutive rows as one .npy file of `shape`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(np.ascontiguousarray(chunk, dtype="<f4").data)  # raises an error if the disk is full


@dataclass(frozen=True)
class Dataset:
    """Describes the images of one split, train or test; stages read it before the images.

    Attributes:
        dataset: name of the data set.
        classes: number of classes.
        image: shape of an image, (height, width, channels), with 1 or 3 channels.
        count: number of images.
        class_names: a name for each class, or empty. Left out of the file if empty, as for MNIST.
        photo: whether pictures show images as they are; else, as ink on paper. Left out of the file if false.
    """

    dataset: str
    classes: int
    image: tuple[int, int, int]
    count: int
    class_names: list[str] = field(default_factory=list)
    photo: bool = False

    def write(self, folder: Path) -> None:
        """Writes the description of the images in a folder, as JSON."""
        write_json(
            folder / DESCRIPTION, {key: value for key, value in asdict(self).items() if value not in ([], False)}
        )

    @classmethod
    def read(cls, folder: Path) -> "Dataset":
        """Reads what `write` wrote. Raises `PipelineError` if the file is missing or is something else."""
        path = folder / DESCRIPTION
        with made_by(MADE_BY, path):
            return read_as(cls, read_bytes(path), str(path))

    def load(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """Memory-maps the images and one-hot labels in a folder.

        Raises `PipelineError` if a file is missing, is damaged, or is not of this data set.
        """
        images = _map_npy(folder / IMAGES, (self.count, *self.image))
        return images, _map_npy(folder / LABELS, (self.count, self.classes))


def _map_npy(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-maps an array that `write_npy` wrote."""
    with made_by(MADE_BY, path):
        with unreadable(path, "an array"):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.memmap) or (array.dtype, array.shape) != (np.float32, shape):
            actual = f"{getattr(array, 'dtype', 'no array')} {getattr(array, 'shape', '')}"
            raise PipelineError(f"{path}: expected float32 {shape}, found {actual}")
        return array
