"""Reads picture files as lightness, whoever made them: each is read within limits of memory and time, or refused."""

import os
import resource
import shlex
import signal
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from stages.support.errors import PipelineError, one_line

FORMATS = "PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "PPM"  # none that starts a program, as EPS does
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # brands of pictures and sequences
KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
BYTES = 200_000_000  # maximum size of a file
PIXELS = 50_000_000  # maximum; most files take 2 to 5 bytes of memory per pixel, progressive JPEG 8, 16-bit TIFF 12
COSTLY = "WEBP", "AVIF"  # take 16 and 11 bytes per pixel: at most half of `PIXELS`
MEMORY = 800_000_000  # bytes: maximum to open and decode a file
SECONDS = 30  # of processor time: maximum to open and decode a file
COUNTED = 100_000  # bytes: in larger files, frames are not counted, as there may be millions
LARGEST = 1000  # maximum pixels per side; larger pictures are scaled down first
TILE = 256  # pixels per side, once scaled down: the part of a picture that is converted at a time
SPIKES = 100  # pixels per side; in larger pictures, single outlier pixels are smoothed away
PHOTO_WITH_PREVIEW = "MPO"  # a phone's JPEG, whose other frames show the same picture


def read(path: Path) -> tuple[Image.Image, list[str]]:
    """Opens a picture, rotated as its EXIF data says, with 8 bits per channel; and notes on what was left out.

    No side is above `LARGEST`: larger pictures are scaled down. Pixels with more bits or in floating point have no
    fixed black and white, so their range is stretched to 0…255. Raises `PipelineError` if the file is not a picture
    of one of the `FORMATS`, is damaged, or exceeds a limit.
    """
    try:
        size = _size(path)
        with _quiet(), _limited(), Image.open(path, formats=FORMATS) as picture:
            _check_pixels(picture)
            notes = []
            if getattr(picture, "is_animated", False) and picture.format != PHOTO_WITH_PREVIEW:
                notes.append(f"first of {picture.n_frames if size <= COUNTED else 'several'} frames")
            picture.draft(None, (LARGEST, LARGEST))  # avoids decoding a large JPEG in full
            picture.load()
            return _eight_bits(ImageOps.exif_transpose(_scaled_down(picture))), notes
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        found = _heic(path) or "something else"
        raise PipelineError(f"{path}: expected a picture, such as PNG or JPEG; found {found}") from error
    except MemoryError as error:
        raise PipelineError(f"{path}: cannot read: takes more than {MEMORY:,} bytes of memory") from error
    except Exception as error:  # for damaged files, Pillow raises almost anything, such as KeyError, struct.error
        raise PipelineError(f"{path}: cannot read: {getattr(error, 'strerror', None) or one_line(error)}") from error


def lightness(picture: Image.Image) -> np.ndarray:
    """Lightness, float32 (height, width) in [0, 1], no side above `LARGEST`; transparent parts become paper.

    0 is black, 1 the lightest pixel, because 12-bit colours in a 16-bit file are dark throughout.
    """
    picture = picture.convert("RGBA")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    light, opacity = (np.asarray(picture.convert(mode), dtype=np.float32) / 255 for mode in ("RGB", "RGBA"))
    light, opacity = light @ np.array([0.299, 0.587, 0.114], np.float32), opacity[..., 3]
    drawn = np.average(light, weights=opacity) if opacity.any() else 1
    paper = 1 if drawn < 0.5 else 0  # the one that contrasts with the drawing
    light = light * opacity + (paper if opacity.min() < 1 else 0) * (1 - opacity)
    light = _smooth(light)
    return light / max(light.max(), 1 / 255)


def _heic(path: Path) -> str:
    """What a HEIC file is and how to convert it; "" for other files."""
    with path.open("rb") as file:
        head = file.read(64)  # a box of the size in its first 4 bytes: its type, and the brands of the file
    brands = {head[start : start + 4] for start in range(8, min(int.from_bytes(head[:4]), len(head)), 4)}
    if head[4:8] != b"ftyp" or brands.isdisjoint(HEIC):
        return ""
    to = path.with_suffix(".jpeg" if path.suffix == ".jpg" else ".jpg")
    source, to = shlex.quote(str(path)), shlex.quote(str(to))
    return (
        "HEIC, in which iPhones take pictures; convert it, "
        f"by: heif-convert {source} {to}, on a Mac by: sips -s format jpeg {source} --out {to}"
    )


def _size(path: Path) -> int:
    """Size in bytes. Raises `PipelineError` if this is too large, or not a file: opening a FIFO may block."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise PipelineError(f"expected a file, found a {KINDS.get(stat.S_IFMT(found.st_mode), 'device')}")
    if found.st_size > BYTES:
        raise PipelineError(f"expected at most {BYTES:,} bytes, found {found.st_size:,}")
    return found.st_size


def _check_pixels(picture: Image.Image) -> None:
    """Raises `PipelineError` if the file's header promises too many pixels."""
    most = PIXELS // 2 if picture.format in COSTLY else PIXELS
    if picture.width * picture.height > most:
        raise PipelineError(f"expected at most {most:,} pixels, found {picture.width:,} x {picture.height:,}")


@contextmanager
def _limited() -> Iterator[None]:
    """Limits processor time and, on Linux, memory.

    A file within the other limits can still ask for minutes and gigabytes, with a TIFF tag of a hundred million values.
    Raises `PipelineError` when the time is over; without memory, decoders fail in their own ways.
    """

    def stop(*_: object) -> None:
        raise PipelineError(f"not decoded after {SECONDS} s")

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    used = Path("/proc/self/statm")
    handler = signal.signal(signal.SIGPROF, stop)
    try:
        if used.exists() and before == resource.RLIM_INFINITY:
            now = int(used.read_text().split()[5]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, most))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Discards warnings: Pillow's, and those that libtiff, which Python cannot reach, writes to stderr itself."""
    nowhere = os.open(os.devnull, os.O_WRONLY)  # the first, as it takes the place of a closed stderr
    stderr = os.dup(2)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _scaled_down(picture: Image.Image) -> Image.Image:
    """The picture with no side above `LARGEST`; in mode I or F if it has more than 8 bits, else in RGBA.

    Converted part by part: RGBA takes 8 bytes per pixel more.
    """
    mode = picture.mode[0] if picture.mode.startswith(("I", "F")) else "RGBA"
    factor = max(1, max(picture.size) // (2 * LARGEST))
    width, height = picture.size
    small = Image.new(mode, (-(-width // factor), -(-height // factor)))
    side = TILE * factor
    for left, top in product(range(0, width, side), range(0, height, side)):
        part = picture.crop((left, top, min(left + side, width), min(top + side, height))).convert(mode)
        small.paste(part.reduce(factor), (left // factor, top // factor))
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    small.info = picture.info
    return small


def _eight_bits(picture: Image.Image) -> Image.Image:
    """The picture, stretched to 0…255 if it has more bits. Infinities and NaN become the median of the rest."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    finite = np.isfinite(values)
    values = np.where(finite, values, np.median(values[finite]) if finite.any() else 0)
    usual = _smooth(values)
    low, high = usual.min(), usual.max()
    return Image.fromarray(np.uint8(255 * ((values - low) / (high - low or 1)).clip(0, 1)))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Removes single outlier pixels, if the picture is large enough for strokes to be thicker."""
    return ndimage.median_filter(values, size=3 if min(values.shape) > SPIKES else 1)
