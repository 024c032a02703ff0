"""A picture file, of any kind that Pillow reads, as lightness."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from stages.common.errors import PipelineError

LARGEST = 1000  # pixels a side that are looked at; a larger picture is made smaller first
SPIKES = 100  # pixels a side from which on single odd pixels are smoothed away
PHOTO_WITH_PREVIEW = "MPO"  # a phone's JPEG, whose other frames show the same


def read(path: Path) -> tuple[Image.Image, list[str]]:
    """Opens a picture, turned as its EXIF data says, with 8 bits a channel; and notes what of the file was left out.

    Pixels of more bits or floating point have no agreed black and white: what there is, is stretched from 0 to 255.
    Raises `PipelineError` if it is no picture or damaged.
    """
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            picture.draft(None, (LARGEST, LARGEST))  # a large JPEG needs not be decoded in full
            picture.load()
            notes = [f"first of {frames} frames"] if frames > 1 and picture.format != PHOTO_WITH_PREVIEW else []
            return _eight_bits(ImageOps.exif_transpose(picture)), notes
    except UnidentifiedImageError as error:
        raise PipelineError(f"{path}: expected a picture, such as PNG or JPEG; found something else") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PipelineError(f"{path}: too large a picture: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged file
        raise PipelineError(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from error


def lightness(picture: Image.Image) -> np.ndarray:
    """Lightness, float32 (height, width) in [0, 1], no side above `LARGEST`; transparent parts become paper.

    0 is black, 1 the lightest that there is: colours of 12 bits in a file of 16 are dark.
    """
    picture = picture.convert("RGBA")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    light, opacity = (np.asarray(picture.convert(mode), dtype=np.float32) / 255 for mode in ("RGB", "RGBA"))
    light, opacity = light @ np.array([0.299, 0.587, 0.114], np.float32), opacity[..., 3]
    drawn = np.average(light, weights=opacity) if opacity.any() else 1
    paper = 1 if drawn < 0.5 else 0  # whichever shows what is drawn
    light = light * opacity + (paper if opacity.min() < 1 else 0) * (1 - opacity)
    light = _smooth(light)
    return light / max(light.max(), 1 / 255)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """The picture, stretched to 0…255 if it has more bits; an infinite value or NaN becomes like the rest's median."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    finite = np.isfinite(values)
    values = np.where(finite, values, np.median(values[finite]) if finite.any() else 0)
    usual = _smooth(values)
    low, high = usual.min(), usual.max()
    return Image.fromarray(np.uint8(255 * ((values - low) / (high - low or 1)).clip(0, 1)))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Without single odd pixels, in a picture large enough for a stroke to be broader."""
    return ndimage.median_filter(values, size=3 if min(values.shape) > SPIKES else 1)
