"""Stage 2: turns the raw archive into the models' inputs, a chunk at a time.

Writes float32 images in [0, 1], one-hot labels, the data set's description and a sample sheet.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from stages.common.archive import ANEW, Archive, Description, map_archive
from stages.common.errors import PipelineError, command
from stages.common.files import output_path, read_bytes
from stages.common.params import load_params, mistake
from stages.common.pictures import digit_sheet, save
from stages.common.prepared import Dataset, write_npy
from stages.common.versions import check_versions

CHUNK = 4096  # images; 12.8 MB of float32 at 28 x 28


def read_description(path: Path, archive: Archive) -> Description:
    """Reads what fetch says of the archive. Raises `PipelineError` if it is missing or damaged, or is of other data."""
    found = Description.parse(read_bytes(path, ANEW), str(path), ANEW)
    if found.sha256 != archive.sha256():
        raise PipelineError(f"{path}: expected the digest of the data, {archive.sha256()}, found {found.sha256}", ANEW)
    return found


def scale_images(images: np.ndarray, pixel_max: float) -> np.ndarray:
    """Scales uint8 images (n, height, width) to float32 (n, height, width, 1) in [0, 1]."""
    if images.max() > pixel_max:
        raise mistake("preprocess.pixel_max", f"at least the largest pixel, {images.max()}", pixel_max)
    return (images.astype(np.float32) / np.float32(pixel_max))[..., np.newaxis]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """One-hot float32 (n, classes) of integer labels (n,) in 0…classes-1."""
    return np.eye(classes, dtype=np.float32)[labels]


def prepare(images: np.ndarray, labels: np.ndarray, classes: int, pixel_max: float, split: str, folder: Path) -> None:
    """Writes x_SPLIT.npy and y_SPLIT.npy into `folder`, from uint8 images (n, height, width) and labels (n,)."""
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    shown = track(
        chunks, f"{split} images", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    )
    scaled = (scale_images(images[chunk], pixel_max) for chunk in shown)
    write_npy(folder / f"x_{split}.npy", scaled, (*images.shape, 1))
    write_npy(folder / f"y_{split}.npy", (one_hot(labels[chunk], classes) for chunk in chunks), (len(labels), classes))


def samples(archive: Archive, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Training images first…first+count-1 and their labels, fewer at the end of the set."""
    total = len(archive.x_train)
    if first >= total:
        raise mistake("preprocess.samples.first", f"at most {total - 1}, the last training image", first)
    return archive.x_train[first : first + count], archive.y_train[first : first + count]


@command
def main() -> None:
    """Prepares the fetched data set for training."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("archive", type=Path, help="the .npz that fetch wrote")
    parser.add_argument("description", type=Path, help="the .json that fetch wrote")
    parser.add_argument("folder", type=output_path, help="where to write the arrays and dataset.json")
    parser.add_argument("sheet", type=output_path, help="the sample sheet to write, .png")
    arguments = parser.parse_args()
    check_versions("numpy", "pictures")

    params = load_params()
    settings = params.preprocess
    archive = map_archive(arguments.archive)
    fetched = read_description(arguments.description, archive)
    train, height, width = archive.x_train.shape
    dataset = Dataset(
        dataset=fetched.dataset,
        classes=archive.classes,
        image=(height, width, 1),
        train=train,
        test=len(archive.x_test),
        sha256=fetched.sha256,
    )
    images, labels = samples(archive, settings.samples.first, settings.samples.count)
    for split in ("train", "test"):
        arrays = getattr(archive, f"x_{split}"), getattr(archive, f"y_{split}")
        prepare(*arrays, dataset.classes, settings.pixel_max, split, arguments.folder)
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
