"""Stage 2: turns the raw archive into what models take, a chunk at a time.

Writes float32 images in [0, 1], one-hot labels, the data set's description and a sample sheet.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.common.arrays import ArchiveReader, Dataset, write_npy
from stages.common.errors import command
from stages.common.params import load_params, mistake
from stages.common.pictures import digit_sheet, save
from stages.common.versions import check_versions

CHUNK = 4096  # images; 12.8 MB of float32 at 28 x 28


def scale_images(images: np.ndarray, pixel_max: float) -> np.ndarray:
    """Scales uint8 images (n, height, width) to float32 (n, height, width, 1) in [0, 1]."""
    if images.max() > pixel_max:
        raise mistake("preprocess.pixel_max", f"at least the largest pixel, {images.max()}", pixel_max)
    return (images.astype(np.float32) / np.float32(pixel_max))[..., np.newaxis]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """One-hot float32 (n, classes) of integer labels (n,) in 0…classes-1."""
    return np.eye(classes, dtype=np.float32)[labels]


def prepare(reader: ArchiveReader, split: str, classes: int, pixel_max: float, folder: Path) -> None:
    """Writes x_<split>.npy and y_<split>.npy into `folder`."""
    shape = reader.shape(f"x_{split}")

    def images() -> Iterator[np.ndarray]:
        with tqdm(total=shape[0], desc=f"{split} images", unit="", disable=None, leave=False) as progress:
            for chunk in reader.chunks(f"x_{split}", CHUNK):
                yield scale_images(chunk, pixel_max)
                progress.update(len(chunk))

    labels = (one_hot(chunk, classes) for chunk in reader.chunks(f"y_{split}", CHUNK))
    write_npy(folder / f"x_{split}.npy", images(), (*shape, 1))
    write_npy(folder / f"y_{split}.npy", labels, (shape[0], classes))


def samples(reader: ArchiveReader, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Training images first…first+count-1 and their labels, fewer at the end of the set."""
    total = reader.shape("x_train")[0]
    if first >= total:
        raise mistake("preprocess.samples.first", f"at most {total - 1}, the last training image", first)
    return tuple(next(reader.chunks(name, count, start=first)) for name in ("x_train", "y_train"))


@command
def main() -> None:
    """Prepares the fetched data set for training."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=Path, help="the .npz that fetch wrote")
    parser.add_argument("description", type=Path, help="the .json that fetch wrote")
    parser.add_argument("folder", type=Path, help="where to write the arrays and dataset.json")
    parser.add_argument("sheet", type=Path, help="the sample sheet to write, .png")
    arguments = parser.parse_args()
    check_versions("numpy", "pictures")

    params = load_params()
    settings = params.preprocess
    reader = ArchiveReader(arguments.archive)
    fetched = json.loads(arguments.description.read_text(encoding="utf-8"))
    train, height, width = reader.shape("x_train")
    dataset = Dataset(
        dataset=fetched["dataset"],
        classes=fetched["classes"],
        image=(height, width, 1),
        train=train,
        test=reader.shape("x_test")[0],
        sha256=fetched["sha256"],
    )
    params.check_shapes(dataset.image, dataset.classes)

    images, labels = samples(reader, settings.samples.first, settings.samples.count)
    for split in ("train", "test"):
        prepare(reader, split, dataset.classes, settings.pixel_max, arguments.folder)
    dataset.write(arguments.folder / "dataset.json")
    titles = [f"l={label}" for label in labels]
    figure = digit_sheet(images, titles, f"{dataset.dataset}: training images from index {settings.samples.first}")
    save(figure, arguments.sheet)
    for split, count in (("train", train), ("test", dataset.test)):
        print(
            f"{split:6} images float32 {(count, *dataset.image)} in [0, 1], labels float32 {(count, dataset.classes)}"
        )


if __name__ == "__main__":
    main()
