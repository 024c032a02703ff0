"""Reads picture files as lightness, whoever made them: within limits of memory and time, or with a one-line error."""

import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from stages.support.errors import PipelineError, one_line

FORMATS = "PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "PPM"  # none that starts a program, as EPS does
BYTES = 200_000_000  # maximum size of a file
PIXELS = 50_000_000  # maximum; files take 2 to 16 bytes of memory per pixel
MEMORY = 800_000_000  # bytes: maximum to open and decode a file
SECONDS = 30  # of processor time: maximum to open and decode a file
LARGEST = 1000  # maximum pixels per side; larger pictures are scaled down first
SPIKES = 100  # pixels per side; in larger pictures, single outlier pixels are smoothed away


def read(path: Path) -> tuple[Image.Image, list[str]]:
    """Opens a picture, turned as its EXIF data says, with 8 bits per channel and no side above `LARGEST`; and notes.

    Raises `PipelineError` if the file is not a picture of one of the `FORMATS`, is damaged, or exceeds a limit.
    """
    try:
        if path.exists() and not path.is_file():  # opening a FIFO may block
            raise PipelineError("expected a file, found a folder, device or FIFO")
        if (size := path.stat().st_size) > BYTES:
            raise PipelineError(f"expected at most {BYTES:,} bytes, found {size:,}")
        with _limited(), Image.open(path, formats=FORMATS) as picture:
            return _decoded(picture)
    except PipelineError as error:
        raise PipelineError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        expected = f"expected a picture in {', '.join(FORMATS)}; convert others, such as an iPhone's HEIC, to JPEG"
        raise PipelineError(f"{path}: {expected}") from error
    except Exception as error:  # for damaged files, Pillow raises almost anything, such as KeyError, struct.error
        reason = f"takes more than {MEMORY:,} bytes of memory" if isinstance(error, MemoryError) else one_line(error)
        raise PipelineError(f"{path}: cannot read: {getattr(error, 'strerror', None) or reason}") from error


def lightness(picture: Image.Image) -> np.ndarray:
    """Returns lightness, float32 (height, width) in [0, 1]; transparent parts become paper.

    0 is black, 1 the lightest pixel, because 12-bit colours in a 16-bit file are dark throughout.
    """
    pixels = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
    light, opacity = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32), pixels[..., 3]
    if opacity.min() < 1:
        drawn = np.average(light, weights=opacity) if opacity.any() else 1
        light = light * opacity + (drawn < 0.5) * (1 - opacity)  # paper contrasts with the drawing
    light = _smooth(light)
    return light / max(light.max(), 1 / 255)


def _decoded(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Decodes an opened picture, as `read` describes."""
    if picture.width * picture.height > PIXELS:
        raise PipelineError(f"expected at most {PIXELS:,} pixels, found {picture.width:,} x {picture.height:,}")
    is_animated = getattr(picture, "is_animated", False) and picture.format != "MPO"  # a phone's JPEG with a preview
    picture.draft(None, (LARGEST, LARGEST))  # avoids decoding a large JPEG in full
    mode = picture.mode[0] if picture.mode.startswith(("I", "F")) else "RGBA"
    small = picture.convert(mode).reduce(max(1, max(picture.size) // (2 * LARGEST)))
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    small.info = picture.info  # with the EXIF data
    return ImageOps.exif_transpose(_eight_bits(small)), ["first of several frames"] if is_animated else []


@contextmanager
def _limited() -> Iterator[None]:
    """Limits processor time and, on Linux, memory: a small file may make a decoder take minutes and gigabytes.

    Discards warnings: Pillow's, and those that libtiff writes to stderr itself.
    """

    def stop(*_: object) -> None:
        raise PipelineError(f"not decoded after {SECONDS} s")

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    handler, stderr = signal.signal(signal.SIGPROF, stop), os.dup(2)
    try:
        with warnings.catch_warnings(action="ignore"), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            if sys.platform == "linux" and before == resource.RLIM_INFINITY:
                resource.setrlimit(resource.RLIMIT_DATA, (psutil.Process().memory_info().data + MEMORY, most))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))
        os.dup2(stderr, 2)
        os.close(stderr)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Stretches a picture with more bits or in floating point to 0…255. Infinities and NaN become the median."""
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
