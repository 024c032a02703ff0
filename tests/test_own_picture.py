"""A person's own picture of a digit becomes what MNIST's images are, whatever its size, colours and paper."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.common.errors import PipelineError
from tools.digits.own import prepare, read

INK, PAPER = 30, 230


def seven(scale: float = 1, place: tuple[int, int] = (60, 40), width: int = 20) -> Image.Image:
    """A 7, dark on light, in a picture of 300 x 260 pixels times `scale`."""
    picture = Image.new("L", (300, 260), PAPER)
    points = [(place[0] + x, place[1] + y) for x, y in ((0, 0), (100, 0), (40, 150))]
    ImageDraw.Draw(picture).line(points, fill=INK, width=width, joint="curve")
    return picture.resize((round(300 * scale), round(260 * scale)), Image.Resampling.LANCZOS)


EXPECTED = prepare(seven(), 28, 28)


def likeness(image: np.ndarray) -> float:
    """Correlation with the 7 as it is, at the best shift by a pixel."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(np.corrcoef(np.roll(image, shift, (0, 1)).ravel(), EXPECTED.ravel())[0, 1] for shift in shifts)


def test_it_is_what_mnist_is_a_box_of_20_pixels_about_the_centre_of_mass() -> None:
    assert EXPECTED.shape == (28, 28)
    assert EXPECTED.dtype == np.float32
    rows, columns = np.nonzero(EXPECTED)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert ndimage.center_of_mass(EXPECTED) == pytest.approx((14, 14), abs=0.6)
    assert EXPECTED.min() == 0
    assert EXPECTED.max() == 1


def test_the_box_goes_with_the_images_size() -> None:
    rows, columns = np.nonzero(prepare(seven(), 8, 8))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 6


@settings(deadline=None)
@given(
    scale=st.floats(0.2, 5),
    place=st.tuples(st.integers(15, 180), st.integers(15, 90)),
    inverted=st.booleans(),
    width=st.integers(14, 28),
)
def test_size_place_and_polarity_do_not_matter(scale, place, inverted, width) -> None:
    picture = seven(scale, place, width)
    if inverted:
        picture = picture.point(lambda value: 255 - value)
    assert likeness(prepare(picture, 28, 28)) > 0.85


def rgb(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB")


def palette(picture: Image.Image) -> Image.Image:
    return picture.convert("P")


def cmyk(picture: Image.Image) -> Image.Image:
    return picture.convert("CMYK")


def sixteen_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def dark_on_nothing(picture: Image.Image) -> Image.Image:
    drawn = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    drawn.putalpha(picture.point(lambda value: 255 - value if value < PAPER else 0))
    return drawn


def light_on_nothing(picture: Image.Image) -> Image.Image:
    drawn = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    drawn.putalpha(picture.point(lambda value: 255 - value if value < PAPER else 0))
    return drawn


def photographed(picture: Image.Image) -> Image.Image:
    """Grain, and light that falls from the right."""
    light = np.linspace(0.6, 1.05, picture.width)
    grain = np.random.default_rng(0).normal(0, 6, (picture.height, picture.width))
    return Image.fromarray((np.asarray(picture) * light + grain).clip(0, 255).astype(np.uint8))


FORMS = [rgb, palette, cmyk, sixteen_bits, dark_on_nothing, light_on_nothing, photographed]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff"])
def test_any_kind_of_picture_shows_the_same_digit(form, suffix: str, tmp_path) -> None:
    picture = form(seven())
    if (suffix == "png" and picture.mode == "CMYK") or (suffix == "jpeg" and picture.mode not in ("L", "RGB", "CMYK")):
        suffix = "tiff"
    picture.save(tmp_path / f"seven.{suffix}")
    assert likeness(prepare(read(tmp_path / f"seven.{suffix}"), 28, 28)) > 0.85


def test_the_line_of_a_thin_pen_is_as_broad_as_a_strokes_least() -> None:
    image = prepare(seven(width=2), 28, 28)
    assert likeness(image) > 0.8
    assert (image > 0.3).sum() > 0.6 * (EXPECTED > 0.3).sum()


def test_a_photo_is_turned_as_its_camera_says(tmp_path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    seven().rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif)
    assert likeness(prepare(read(tmp_path / "photo.jpg"), 28, 28)) > 0.95


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 300)])
def test_a_blank_picture_is_told(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected a digit, found a blank picture \(contrast 0% of black to white\)"):
        prepare(Image.new("L", size, 128), 28, 28)


def test_a_damaged_picture_is_told(tmp_path) -> None:
    stream = io.BytesIO()
    seven().save(stream, "png")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[:200])
    with pytest.raises(PipelineError, match=r"half.png: cannot read: "):
        read(tmp_path / "half.png")


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_a_picture_too_large_to_open_is_told(tmp_path, monkeypatch) -> None:
    seven().save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PipelineError, match=r"large.png: too large a picture: "):
        read(tmp_path / "large.png")
