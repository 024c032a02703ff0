"""The prepared data (data/prepared): the models' inputs, as NumPy files that are memory-mapped, and their description.

Images are float32 `(n, height, width, 1)` in [0, 1], labels one-hot float32 `(n, classes)`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stages.common.errors import PipelineError, unreadable
from stages.common.files import read_bytes, replacing, write_json
from stages.common.json import read_as

ANEW = "make it anew with: dvc repro preprocess"


def write_npy(path: Path, chunks: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    """Writes float32 chunks of consecutive rows as one .npy file of `shape`."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(np.ascontiguousarray(chunk, dtype="<f4").data)  # a full disk is an error, no lost memory map


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
        return read_as(cls, read_bytes(path, ANEW), str(path), ANEW)

    def load(self, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Memory-maps the prepared images and one-hot labels of "train" or "test".

        Raises `PipelineError` if a file is missing, is damaged, or is not of this data set.
        """
        count = self.train if split == "train" else self.test
        images = _map_npy(folder / f"x_{split}.npy", (count, *self.image))
        return images, _map_npy(folder / f"y_{split}.npy", (count, self.classes))


def _map_npy(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-maps an array that `write_npy` wrote."""
    with unreadable(path, "an array", ANEW):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap) or (array.dtype, array.shape) != (np.float32, shape):
        found = f"{getattr(array, 'dtype', 'no array')} {getattr(array, 'shape', '')}"
        raise PipelineError(f"{path}: expected float32 {shape}, found {found}", ANEW)
    return array
