"""Reads a folder of pictures: `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*`, of which a share is for testing."""

import hashlib
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stages.common.prepared import MAX_CLASSES
from stages.data.archive import MAX_BYTES, MAX_SIDE, Archive
from stages.support.errors import PipelineError, one_line, printable
from stages.support.params import ImageForm
from stages.support.progress import with_bar

FORMATS = "PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
OF_SYSTEMS = {"thumbs.db", "desktop.ini"}  # files that systems leave; so are those whose names begin with a dot
SPLITS = {"train", "test"}
MAX_PIXELS = 50_000_000  # of a picture
MAX_FILE = 200_000_000  # bytes
MAX_PICTURES = 1_000_000
GREY = {"1", "L", "LA", "I;16", "I;16B", "I;16L", "I"}  # Pillow's modes without colour
EXIF_ORIENTATION, SIDEWAYS = 0x0112, {5, 6, 7, 8}  # orientations that swap height and width


@dataclass(frozen=True)
class Picture:
    """A picture file: its class, its SHA-256, its height and width as shown, and `L` or `RGB`."""

    path: Path
    name: str
    digest: str
    size: tuple[int, int]
    mode: str


def read_folder(folder: Path, form: ImageForm, test_share: float) -> Archive:
    """Reads all pictures of a folder, in the order of their digests; classes are numbered by name.

    Raises `PipelineError` as `list_folder` does, and if sizes or colours differ and `form` gives none, or if a limit is
    exceeded.
    """
    train, test, names = list_folder(folder, test_share)
    size, mode = _common_form(folder, [*train, *test], form)
    images = [_load(pictures, size, mode) for pictures in (train, test)]
    labels = [np.array([names.index(item.name) for item in pictures], np.uint8) for pictures in (train, test)]
    is_numbered = names == [str(number) for number in range(len(names))]
    return Archive(images[0], labels[0], images[1], labels[1], () if is_numbered else tuple(names))


def list_folder(folder: Path, test_share: float) -> tuple[list[Picture], list[Picture], list[str]]:
    """Lists the pictures for training and those for testing, without decoding them, and the names of the classes.

    Lists on stderr what is no picture, and raises `PipelineError` if there is such a thing.
    """
    problems: list[str] = []
    if {child.name for child in folder.iterdir() if child.is_dir()} >= SPLITS:
        train, test = (_pictures(folder / split, problems) for split in ("train", "test"))
        lonely = "{}/test/{}: expected training images of the class, too, found none"
    else:
        train, test = _split(_pictures(folder, problems), test_share)
        lonely = "{}/{}: expected two or more pictures, one of them for testing, found one"
    names = sorted(
        {picture.name for picture in train}, key=lambda name: (int(name), name) if name.isdigit() else (0, name)
    )
    problems += [lonely.format(folder, name) for name in sorted({picture.name for picture in test} - {*names})]
    if problems:
        _raise(folder, problems)
    if len(names) < 2 or len(names) > MAX_CLASSES or not test:
        expected = f"folders of 2 to {MAX_CLASSES} classes, with pictures for training and for testing"
        raise PipelineError(
            f"{folder}: expected {expected}, found {len(names)} classes and {len(test):,} test pictures"
        )
    return train, test, names


def _raise(folder: Path, problems: list[str]) -> None:
    if len(problems) == 1:
        raise PipelineError(problems[0])
    print(*map(printable, problems), sep="\n", file=sys.stderr)
    raise PipelineError(f"{folder}: put right or delete the {len(problems)} files and folders that are listed above")


def _pictures(folder: Path, problems: list[str]) -> list[Picture]:
    """Lists the pictures of each class, by digest, and adds to the problems what is something else."""
    pictures = []
    for child in sorted(folder.iterdir()):
        if _is_of_system(child):
            continue
        if not child.is_dir():
            problems.append(f"{child}: expected a folder for each class, found a file")
            continue
        files = [file for file in sorted(child.iterdir()) if not _is_of_system(file)]
        if not files:
            problems.append(f"{child}: expected pictures, found none")
        pictures += [picture for file in files if (picture := _look(file, child.name, problems))]
    if len(pictures) > MAX_PICTURES:
        raise PipelineError(f"{folder}: expected at most {MAX_PICTURES:,} pictures, found {len(pictures):,}")
    return sorted(pictures, key=lambda picture: (picture.digest, picture.path))


def _is_of_system(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in OF_SYSTEMS


def _look(path: Path, name: str, problems: list[str]) -> Picture | None:
    """Reads a picture's size and colours, without decoding it."""
    kinds = ", ".join(sorted(SUFFIXES))
    try:
        if path.is_dir():
            raise PipelineError("expected pictures of the class, found a folder")
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise PipelineError(f"expected a picture ({kinds}), found another file")
        if (count := path.stat().st_size) > MAX_FILE:
            raise PipelineError(f"expected at most {MAX_FILE:,} bytes, found {count:,}")
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise PipelineError(f"expected at most {MAX_PIXELS:,} pixels, found {width:,} × {height:,}")
            if picture.getexif().get(EXIF_ORIENTATION) in SIDEWAYS:
                width, height = height, width
            mode = "L" if picture.mode in GREY else "RGB"
        return Picture(path, name, hashlib.sha256(path.read_bytes()).hexdigest(), (height, width), mode)
    except PipelineError as error:
        problems.append(f"{path}: {error}")
    except Exception as error:  # Pillow raises almost anything for damaged files
        problems.append(f"{path}: cannot read this picture: {one_line(error)}")
    return None


def _split(pictures: list[Picture], share: float) -> tuple[list[Picture], list[Picture]]:
    """Splits each class. The digest of a picture decides, so that it stays on its side whatever is added later."""
    largest = {picture.name: picture.digest for picture in pictures}  # which are sorted by digest
    smallest = {picture.name: picture.digest for picture in reversed(pictures)}

    def is_test(picture: Picture) -> bool:
        if picture.digest in (smallest[picture.name], largest[picture.name]):  # a class has pictures on both sides
            return picture.digest == smallest[picture.name]
        return int(picture.digest[:12], 16) < share * 16**12

    return [item for item in pictures if not is_test(item)], [item for item in pictures if is_test(item)]


def _common_form(folder: Path, pictures: list[Picture], form: ImageForm) -> tuple[tuple[int, int], str]:
    """Returns height and width, and the mode, that all pictures get."""
    sizes, modes = Counter(picture.size for picture in pictures), Counter(picture.mode for picture in pictures)
    size = (form.size[0], form.size[1]) if form.size else sizes.most_common(1)[0][0]
    mode = form.mode or modes.most_common(1)[0][0]
    others = [
        item for item in pictures if (not form.size and item.size != size) or (not form.mode and item.mode != mode)
    ]
    if others:
        shown = ", ".join(f"{item.path} ({item.size[0]} × {item.size[1]}, {item.mode})" for item in others[:3])
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        hint = f"give all the same with image: {{size: [{size[0]}, {size[1]}], mode: {mode}}} of the source"
        raise PipelineError(
            f"{folder}: expected {size[0]} × {size[1]} pixels, {mode}, as most; found {shown}{more}", hint
        )
    if max(size) > MAX_SIDE:
        hint = "give image: {size: [height, width]} of the source"
        actual = f"{size[0]} × {size[1]}"
        raise PipelineError(f"{folder}: expected at most {MAX_SIDE} × {MAX_SIDE} pixels, found {actual}", hint)
    if (total := len(pictures) * size[0] * size[1] * len(mode)) > MAX_BYTES:
        expected = f"at most {MAX_BYTES:,} bytes of pixels"
        raise PipelineError(f"{folder}: expected {expected}, found {total:,}", "give a smaller image.size")
    return size, mode


def _load(pictures: list[Picture], size: tuple[int, int], mode: str) -> np.ndarray:
    """Decodes pictures: uint8 (n, height, width), or with 3 channels."""
    images = np.empty((len(pictures), *size, *([3] if mode == "RGB" else [])), np.uint8)
    for index, picture in enumerate(with_bar(pictures, "pictures")):
        try:
            images[index] = _decode(picture.path, size, mode)
        except Exception as error:  # as above
            raise PipelineError(f"{picture.path}: cannot read this picture: {one_line(error)}") from error
    return images


def _decode(path: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    """Decodes a picture (of several, the first frame): upright, transparent parts white, scaled to the size."""
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):  # 16 bits
            picture = Image.fromarray((np.asarray(picture).clip(0, 2**16 - 1) // 257).astype(np.uint8))
        elif "A" in picture.mode or "transparency" in picture.info:
            drawn = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
        picture = picture.convert("RGB").convert(mode)
    if picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(picture)
