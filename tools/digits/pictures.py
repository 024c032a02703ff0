"""Reads picture files, of any kind that Pillow supports, as lightness."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from stages.common.errors import PipelineError

LARGEST = 1000  # maximum pixels per side; larger pictures are scaled down first
SPIKES = 100  # pixels per side; in larger pictures, single outlier pixels are smoothed away
PHOTO_WITH_PREVIEW = "MPO"  # a phone's JPEG, whose other frames show the same picture


def read(path: Path) -> tuple[Image.Image, list[str]]:
    """Opens a picture, rotated as its EXIF data says, with 8 bits per channel; and notes on what was left out.

    Pixels with more bits or in floating point have no fixed black and white, so their range is stretched to 0…255.
    Raises `PipelineError` if the file is not a picture or is damaged.
    """
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            picture.draft(None, (LARGEST, LARGEST))  # avoids decoding a large JPEG in full
            picture.load()
            notes = [f"first of {frames} frames"] if frames > 1 and picture.format != PHOTO_WITH_PREVIEW else []
            return _eight_bits(ImageOps.exif_transpose(picture)), notes
    except UnidentifiedImageError as error:
        raise PipelineError(f"{path}: expected a picture, such as PNG or JPEG; found something else") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PipelineError(f"{path}: picture too large: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's exceptions for damaged files
        raise PipelineError(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from error


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
