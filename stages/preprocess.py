"""Stage 2: turns the raw archive into the models' inputs, a chunk at a time.

Writes float32 images in [0, 1] and one-hot labels, for training and for testing, and a sample sheet.
"""

import argparse
from pathlib import Path

import numpy as np

from stages.common.files import read_bytes
from stages.common.prepared import IMAGES, LABELS, Dataset, write_npy
from stages.data.archive import Archive, Description, read_archive
from stages.results.pictures import image_sheet, save, shortened
from stages.support.dvc_cache import made_by
from stages.support.errors import PipelineError, command
from stages.support.params import load_params, mistake
from stages.support.paths import output_path
from stages.support.progress import finish, with_bar
from stages.support.versions import check_versions

CHUNK = 4096  # images; 12.8 MB of float32 at 28 x 28


def read_fetched(archive: Path, description: Path) -> tuple[Archive, Description]:
    """Reads the data and their description. Raises `PipelineError` if a file is missing, damaged, or of other data."""
    with made_by("fetch", archive):
        arrays = read_archive(archive)
    with made_by("fetch", description):
        recorded, digest = Description.parse(read_bytes(description), str(description)), arrays.sha256()
        if recorded.sha256 != digest:
            raise PipelineError(f"{description}: expected the digest of the data, {digest}, found {recorded.sha256}")
    return arrays, recorded


def scale_images(images: np.ndarray, pixel_max: float) -> np.ndarray:
    """Scales uint8 images (n, height, width) or (n, height, width, 3) to float32 (n, height, width, channels)."""
    if images.max() > pixel_max:
        raise mistake("preprocess.pixel_max", f"at least the largest pixel, {images.max()}", pixel_max)
    scaled = images.astype(np.float32) / np.float32(pixel_max)
    return scaled if scaled.ndim == 4 else scaled[..., np.newaxis]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Encodes integer labels (n,) in 0…classes-1 as one-hot float32 (n, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def prepare(images: np.ndarray, labels: np.ndarray, dataset: Dataset, pixel_max: float, folder: Path) -> None:
    """Writes the files of a split into `folder`, from uint8 images, as in the archive, and labels (n,)."""
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    scaled = (scale_images(images[chunk], pixel_max) for chunk in with_bar(chunks, f"{folder.name} images"))
    write_npy(folder / IMAGES, scaled, (len(images), *dataset.image))
    encoded = (one_hot(labels[chunk], dataset.classes) for chunk in chunks)
    write_npy(folder / LABELS, encoded, (len(labels), dataset.classes))
    dataset.write(folder)


def samples(archive: Archive, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns training images first…first+count-1 and their labels, fewer at the end of the set."""
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
    parser.add_argument("folder", type=output_path, help="where to write the folders train and test")
    parser.add_argument("sheet", type=output_path, help="the sample sheet to write, .png")
    arguments = parser.parse_args()
    check_versions("common", "data", "results")

    params = load_params()
    settings = params.preprocess
    archive, described = read_fetched(arguments.archive, arguments.description)
    images, labels = samples(archive, settings.samples.first, settings.samples.count)
    lines = []
    for split in ("train", "test"):
        arrays = getattr(archive, f"x_{split}"), getattr(archive, f"y_{split}")
        count = len(arrays[0])
        names, photo = described.class_names, described.photo
        dataset = Dataset(described.dataset, archive.classes, described.image, count, names, photo)
        prepare(*arrays, dataset, settings.pixel_max, arguments.folder / split)
        shapes = f"images float32 {(count, *dataset.image)} in [0, 1], labels float32 {(count, dataset.classes)}"
        lines.append(f"{split:6}{shapes}")
    titles = [shortened(described.class_names[label]) if described.class_names else f"l={label}" for label in labels]
    heading = f"{described.dataset}: training images from index {settings.samples.first}"
    figure = image_sheet(images, titles, heading, described.photo)
    save(figure, arguments.sheet)
    finish("\n".join(lines))


if __name__ == "__main__":
    main()
