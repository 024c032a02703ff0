"""A person's own picture of a digit becomes what MNIST's images are, whatever its size, colours and paper."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from tools.digits import own, pictures
from tools.digits.pictures import lightness, read

INK, PAPER = 30, 230


def seven(scale: float = 1, place: tuple[int, int] = (60, 40), width: int = 20, paper: int = PAPER) -> Image.Image:
    """A 7 that fills (60, 40) to (160, 190), dark on light, in a picture of 300 x 260 pixels times `scale`."""
    picture = Image.new("L", (300, 260), paper)
    points = [(place[0] + x, place[1] + y) for x, y in ((0, 0), (100, 0), (40, 150))]
    ImageDraw.Draw(picture).line(points, fill=INK, width=width, joint="curve")
    return picture.resize((round(300 * scale), round(260 * scale)), Image.Resampling.LANCZOS)


def prepare(picture: Image.Image, height: int = 28, width: int = 28) -> np.ndarray:
    """Prepares a picture on which nothing is to be noted."""
    image, notes = own.prepare(picture, height, width)
    assert notes == []
    return image


EXPECTED = prepare(seven())


def likeness(image: np.ndarray) -> float:
    """Correlation with the plain 7, at the best shift by a pixel."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(np.corrcoef(np.roll(image, shift, (0, 1)).ravel(), EXPECTED.ravel())[0, 1] for shift in shifts)


@pytest.mark.parametrize(("side", "box"), [(28, 20), (8, 6)])
def test_a_digit_fits_its_box_and_is_centred_by_its_mass(side: int, box: int) -> None:
    image = prepare(seven(), side, side)
    rows, columns = np.nonzero(image)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == box
    assert ndimage.center_of_mass(image) == pytest.approx((side / 2, side / 2), abs=0.6)
    assert (image.dtype, image.shape, image.min(), image.max()) == (np.float32, (side, side), 0, 1)


@settings(max_examples=50)
@given(
    scale=st.floats(0.2, 2),  # larger ones take long
    place=st.tuples(st.integers(40, 180), st.integers(40, 90)),
    inverted=st.booleans(),
)
@example(scale=2, place=(60, 40), inverted=True)
def test_size_place_and_polarity_do_not_matter(scale: float, place: tuple[int, int], inverted: bool) -> None:
    picture = seven(scale, place)
    assert likeness(prepare(picture.point(lambda value: 255 - value) if inverted else picture)) > 0.85


def on_nothing(picture: Image.Image, colour: int) -> Image.Image:
    """The ink, in a grey, on transparent paper."""
    ink = Image.new("RGBA", picture.size, (colour, colour, colour, 255))
    ink.putalpha(picture.point(lambda value: 255 - value if value < PAPER else 0))
    return ink


def photographed(picture: Image.Image) -> Image.Image:
    """Grain, and light that falls from the right."""
    grain = np.random.default_rng(0).normal(0, 6, (picture.height, picture.width))
    return Image.fromarray((picture * np.linspace(0.6, 1.05, picture.width) + grain).clip(0, 255).astype(np.uint8))


FORMS = {
    "rgb.png": lambda picture: picture.convert("RGB"),
    "one bit.png": lambda picture: picture.convert("1"),
    "cmyk.jpeg": lambda picture: picture.convert("CMYK"),
    "photo.jpeg": photographed,
    "16 bits.png": lambda picture: Image.fromarray(np.asarray(picture, np.uint16) * 257),
    "12 bits.tiff": lambda picture: Image.fromarray(np.asarray(picture, np.uint16) * 16),
    "12 bits in colour.tiff": lambda picture: picture.point(lambda value: value // 16).convert("RGB"),
    "dark on nothing.png": lambda picture: on_nothing(picture, 0),
    "light on nothing.webp": lambda picture: on_nothing(picture, 255),
    "avif.avif": lambda picture: picture.convert("RGB"),
    "floats.tiff": lambda picture: Image.fromarray(np.asarray(picture, np.float32) / 255),
}


@pytest.mark.parametrize("name", FORMS)
def test_any_kind_of_picture_shows_the_same_digit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS[name](seven()).save(tmp_path / name)
    assert likeness(prepare(read(tmp_path / name)[0])) > 0.85
    monkeypatch.setattr(pictures, "LARGEST", 70)
    monkeypatch.setattr(pictures, "SPIKES", 50)
    picture = read(tmp_path / name)[0]
    assert picture.size == (70, 61), "it is scaled down"
    assert likeness(prepare(picture)) > 0.85


def test_lightness_is_that_of_the_lightest_pixel_and_what_is_transparent_is_paper() -> None:
    picture = Image.new("RGBA", (3, 1), (51, 51, 51, 255))
    picture.putpixel((0, 0), (0, 0, 0, 255))
    assert lightness(picture)[0] == pytest.approx([0, 1, 1])
    picture.putpixel((2, 0), (0, 0, 0, 0))
    assert lightness(picture)[0] == pytest.approx([0, 0.2, 1])


def test_more_bits_are_stretched_and_what_is_no_number_is_the_median(tmp_path: Path) -> None:
    for name, values in (
        ("deep.png", np.array([[2000, 1000, 3000]], np.uint16)),
        ("nan.tiff", np.float32([[np.nan, 0, 1]])),
    ):
        Image.fromarray(values).save(tmp_path / name)
        assert np.asarray(read(tmp_path / name)[0]).tolist() == [[127, 0, 255]]


def drawn(lines: list[tuple[int, ...]], width: int = 4) -> Image.Image:
    """The 7 and straight lines."""
    picture = seven()
    for line in lines:
        ImageDraw.Draw(picture).line(line, fill=INK, width=width)
    return picture


def box(left: int, top: int, right: int, bottom: int) -> list[tuple[int, ...]]:
    return [(left, top, right, top, right, bottom, left, bottom, left, top)]


def on_a_desk(angle: float = 0) -> Image.Image:
    desk = Image.new("L", (500, 450), 60)
    sheet = seven().convert("LA").rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    desk.paste(sheet.getchannel("L"), (90, 80), sheet.getchannel("A"))
    return desk


def shape(draw: str, *arguments: object, **options: object) -> Image.Image:
    picture = Image.new("L", (300, 260), PAPER)
    getattr(ImageDraw.Draw(picture), draw)(*arguments, **options)
    return picture


def sevens(count: int, margin: int) -> Image.Image:
    page = np.hstack([np.asarray(seven())[:, 60 - margin : 160 + margin]] * count)
    return Image.fromarray(np.pad(page, 20, constant_values=PAPER))


def noise(*size: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))


FRAME, DESK, WIDE = "frame or lines left out", "surroundings left out", "perhaps two digits"
SCRIBBLE = [(60 + 110 * (row % 2), 40 + 20 * row) for row in range(8)]
# the picture, and the note if it is read, or the error
SCENES = {
    "a frame at the border": (drawn(box(1, 1, 298, 258)), DESK),
    "a form's field": (drawn(box(35, 15, 190, 215)), FRAME),
    "ruled paper, between lines": (drawn([(0, 10, 300, 10), (0, 220, 300, 220)]), FRAME),
    "a sheet on a dark desk": (on_a_desk(), DESK),
    "a sheet askew on a dark desk": (on_a_desk(8), DESK),
    "1.4 times as wide as high": (seven().resize((660, 260)), WIDE),
    "an underline": (drawn([(40, 215, 180, 215)]), "found 2 separate shapes"),
    "lined paper": (drawn([(0, y, 300, y) for y in range(10, 260, 45)]), "expected one digit, found"),
    "a line across the page": (drawn([(0, 120, 300, 125)]), "expected one digit, found"),
    "a field that the digit crosses": (drawn(box(30, 80, 190, 215)), "found a frame"),
    "two digits": (sevens(2, 20), "found 2 separate shapes"),
    "two digits close together": (sevens(2, 13), "expected one digit, found"),
    "a digit cut off by the border": (seven().crop((0, 60, 300, 260)), "found a shape that touches the border"),
    "a line from edge to edge": (shape("line", (150, 0, 150, 260), fill=INK, width=20), "that touches the border"),
    "a filled square": (shape("rectangle", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a filled disc": (shape("ellipse", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a dash": (shape("line", (60, 100, 200, 100), fill=INK, width=10), "times as wide as high"),
    "a dot": (shape("ellipse", (60, 40, 64, 44), fill=INK), "expected a digit at least 8 pixels high or wide"),
    "a scribble": (shape("line", SCRIBBLE, fill=INK, width=6), "times as long as the shape is high"),
    "an empty field": (shape("rectangle", (60, 40, 160, 190), outline=INK, width=4), "found a frame"),
    "noise": (noise(300, 300), "expected one digit, found"),
    "three by three": (noise(3, 3), "expected a picture at least 8 pixels high and wide, found 3 x 3 pixels"),
    "blank": (Image.new("L", (8, 300), 128), r"found a blank picture \(contrast 0% of black to white\)"),
    "nothing but transparent": (Image.new("RGBA", (300, 260)), "found a blank picture"),
}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("inverted", [False, True])
def test_a_digit_is_read_or_the_picture_is_refused(name: str, inverted: bool) -> None:
    picture, expected = SCENES[name]
    picture = picture.point(lambda value: 255 - value) if inverted and picture.mode == "L" else picture
    if expected not in (FRAME, DESK, WIDE):
        with pytest.raises(ValueError, match=expected):
            own.prepare(picture, 28, 28)
        return
    image, notes = own.prepare(picture, 28, 28)
    assert notes == [expected]
    upright = ndimage.rotate(image, -8 if "askew" in name else 0, reshape=False, order=1)
    assert likeness(upright) > 0.8 or expected == WIDE


def test_parts_of_a_digit_and_the_line_of_a_thin_pen() -> None:
    loose = np.array(seven())
    loose[75:85] = PAPER
    assert likeness(prepare(Image.fromarray(loose))) > 0.85
    assert likeness(prepare(drawn([(200, 180, 210, 180)], width=10))) > 0.95, "a speck is left out"
    assert likeness(prepare(seven().crop((50, 30, 171, 195)))) > 0.95, "cut out closely"
    assert prepare(shape("line", (60, 40, 60, 140), fill=INK, width=4)).max() == 1, "a one"
    thin = prepare(seven(width=2))
    assert likeness(thin) > 0.8
    assert (thin > 0.3).sum() > 0.6 * (EXPECTED > 0.3).sum()


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    turned = seven().rotate(90, expand=True)
    turned.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[turned], exif=exif)  # with a preview
    picture, notes = read(tmp_path / "photo.jpg")
    assert notes == []
    assert likeness(prepare(picture)) > 0.95
