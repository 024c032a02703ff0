"""A person's own picture of a digit becomes what MNIST's images are, whatever its size, colours and paper."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from stages.support.errors import PipelineError
from tools.digits import own, pictures
from tools.digits.pictures import read

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
    drawn = Image.new("RGBA", picture.size, (colour, colour, colour, 255))
    drawn.putalpha(picture.point(lambda value: 255 - value if value < PAPER else 0))
    return drawn


def photographed(picture: Image.Image) -> Image.Image:
    """Grain, and light that falls from the right."""
    light = np.linspace(0.6, 1.05, picture.width)
    grain = np.random.default_rng(0).normal(0, 6, (picture.height, picture.width))
    return Image.fromarray((np.asarray(picture) * light + grain).clip(0, 255).astype(np.uint8))


def bits(picture: Image.Image, factor: int, odd: int | None = None) -> Image.Image:
    values = np.asarray(picture).astype(np.uint16) * factor
    if odd is not None:
        values[5, 7] = values[200, 30] = odd  # which a sensor could not read
    return Image.fromarray(values)


def floats(picture: Image.Image, scale: float, odd: float = 0) -> Image.Image:
    values = (np.asarray(picture).astype(np.float32) - 100) * np.float32(scale)
    values[:9, :9] = odd or values[0, 0]
    return Image.fromarray(values)


FORMS = {
    "rgb.png": lambda picture: picture.convert("RGB"),
    "palette.png": lambda picture: picture.convert("P"),
    "one bit.png": lambda picture: picture.convert("1"),
    "cmyk.jpeg": lambda picture: picture.convert("CMYK"),
    "photo.jpeg": photographed,
    "16 bits.png": lambda picture: bits(picture, 257),
    "12 bits.tiff": lambda picture: bits(picture, 16),
    "12 bits with hot pixels.tiff": lambda picture: bits(picture, 16, 65535),
    "12 bits in colour.tiff": lambda picture: picture.point(lambda value: value // 16).convert("RGB"),
    "dark on nothing.png": lambda picture: on_nothing(picture, 0),
    "light on nothing.webp": lambda picture: on_nothing(picture, 255),
    "avif.avif": lambda picture: picture.convert("RGB"),
    "small floats.tiff": lambda picture: floats(picture, 1e-9),
    "large floats with NaN.tiff": lambda picture: floats(picture, 1e34, np.nan),
    "floats with infinity.tiff": lambda picture: floats(picture, 1, -np.inf),
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


FRAME, DESK = "frame or lines left out", "surroundings left out"
SMALL = "expected a picture at least 8 pixels high and wide, found"
# the picture, and the note if it is read, or the error
SCENES = {
    "a frame at the border": (drawn(box(1, 1, 298, 258)), DESK),
    "a form's field": (drawn(box(35, 15, 190, 215)), FRAME),
    "an edge on one side": (drawn([(2, 0, 2, 260)]), FRAME),
    "ruled paper, between lines": (drawn([(0, 10, 300, 10), (0, 220, 300, 220)]), FRAME),
    "a sheet on a dark desk": (on_a_desk(), DESK),
    "a sheet askew on a dark desk": (on_a_desk(8), DESK),
    "an underline": (drawn([(40, 215, 180, 215)]), "found 2 separate shapes"),
    "lined paper": (drawn([(0, y, 300, y) for y in range(10, 260, 45)]), "expected one digit, found"),
    "a line across the page": (drawn([(0, 120, 300, 125)]), "expected one digit, found"),
    "a field that the digit crosses": (drawn(box(30, 80, 190, 215)), "found a frame"),
    "two digits": (sevens(2, 20), "found 2 separate shapes"),
    "two digits close together": (sevens(2, 13), "expected one digit, found"),
    "three digits": (sevens(3, 20), "found 3 separate shapes"),
    "a digit cut off by the border": (seven().crop((0, 60, 300, 260)), "found a shape that touches the border"),
    "a filled square": (shape("rectangle", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a filled disc": (shape("ellipse", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a dash": (shape("line", (60, 100, 200, 100), fill=INK, width=10), "times as wide as high"),
    "a dot": (shape("ellipse", (60, 40, 64, 44), fill=INK), "expected a digit at least 8 pixels high or wide"),
    "an empty field": (shape("rectangle", (60, 40, 160, 190), outline=INK, width=4), "found a frame"),
    "noise": (noise(300, 300), "expected one digit, found"),
    "three by three": (noise(3, 3), f"{SMALL} 3 x 3 pixels"),
    "a line of pixels": (noise(1000, 1), f"{SMALL} 1000 x 1 pixels"),
    "blank": (Image.new("L", (8, 300), 128), r"found a blank picture \(contrast 0% of black to white\)"),
    "nothing but transparent": (Image.new("RGBA", (300, 260)), "found a blank picture"),
}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("inverted", [False, True])
def test_a_digit_is_found_or_the_picture_is_refused(name: str, inverted: bool) -> None:
    picture, expected = SCENES[name]
    picture = picture.point(lambda value: 255 - value) if inverted and picture.mode == "L" else picture
    if expected not in (FRAME, DESK):
        with pytest.raises(ValueError, match=expected):
            own.prepare(picture, 28, 28)
        return
    image, notes = own.prepare(picture, 28, 28)
    assert notes == [expected]
    assert likeness(ndimage.rotate(image, -8 if "askew" in name else 0, reshape=False, order=1)) > 0.8


def test_parts_of_a_digit_and_the_line_of_a_thin_pen() -> None:
    loose = np.array(seven())
    loose[75:85] = PAPER
    assert likeness(prepare(Image.fromarray(loose))) > 0.85
    assert likeness(prepare(drawn([(200, 180, 210, 180)], width=10))) > 0.95, "a speck is left out"
    assert likeness(prepare(seven().crop((50, 30, 171, 195)))) > 0.95, "cut out closely"
    thin = prepare(seven(width=2))
    assert likeness(thin) > 0.8
    assert (thin > 0.3).sum() > 0.6 * (EXPECTED > 0.3).sum()


def test_a_wide_digit_is_noted() -> None:
    wide = seven().resize((660, 260))  # 1.4 times as wide as high
    assert own.prepare(wide, 28, 28)[1] == ["perhaps two digits"]


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    seven().rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif)
    assert likeness(prepare(read(tmp_path / "photo.jpg")[0])) > 0.95


def test_of_several_frames_the_first_is_taken_and_noted(tmp_path: Path) -> None:
    seven().save(tmp_path / "two.gif", save_all=True, append_images=[seven().rotate(180)])
    picture, notes = read(tmp_path / "two.gif")
    assert notes == ["first of several frames"]
    assert likeness(prepare(picture)) > 0.95


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says how large it is, and has no pixels."""
    header, nothing = struct.pack(">2L5B", width, height, 8, 0, 0, 0, 0), zlib.compress(b"")
    chunks = [(b"IHDR", header), (b"IDAT", nothing), (b"IEND", b"")]
    sums = [struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks]
    parts = [struct.pack(">L", len(c[1])) + c[0] + c[1] + check for c, check in zip(chunks, sums, strict=True)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def costly_tiff() -> bytes:
    """A file for which a decoder takes a hundred times its size: a tag with 15 million values."""
    count = 15_000_000
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (273, 3, count, 200), (279, 4, 1, 64)]
    tags = b"".join(struct.pack("<2H2L", *entry) for entry in entries)  # 273 says where each strip of the picture is
    header = b"II*\0" + struct.pack("<LH", 8, len(entries)) + tags
    return header.ljust(200, b"\0") + bytes(2 * count)


OTHER = "expected a picture in PNG, JPEG, TIFF, GIF, BMP, WEBP, AVIF, PPM; convert others, such as an iPhone's HEIC"
REFUSED = {
    "half.png": (lambda: saved(seven(), "png")[:200], "cannot read: "),
    "pixels.png": (lambda: png(10_000, 10_000), "expected at most 50,000,000 pixels, found 10,000 x 10,000$"),
    "pixels.webp": (lambda: saved(Image.new("L", (5100, 5000)), "webp", lossless=True), "expected at most 25,000,000"),
    "seven.eps": (lambda: saved(seven(), "eps"), OTHER),
    "seven.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), OTHER),
    "tag.tiff": (costly_tiff, "cannot read: takes more than 100,000,000 bytes of memory$"),
    "slow.ppm": (lambda: b"P5" + b" " * 10_000_000 + b"8 8 255 " + bytes(64), "not decoded after 0.2 s$"),
    "no columns.ppm": (lambda: b"P5 0 9 255 ", ""),
    "exif.jpg": (lambda: saved(seven(), "jpeg", exif=b"Exif\0\0II*\0\xff\xff"), "cannot read: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "tag.tiff":
        monkeypatch.setattr(pictures, "MEMORY", 100_000_000)
        if sys.platform != "linux":
            pytest.skip("memory is limited on Linux only")
    if name == "slow.ppm":
        monkeypatch.setattr(pictures, "SECONDS", 0.2)
    make, expected = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(PipelineError, match=f"{name}: {expected}"):
        read(tmp_path / name)


def test_a_large_file_and_what_is_no_file_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    (tmp_path / "large.png").touch(mode=0o000)
    os.truncate(tmp_path / "large.png", 200_000_001)
    with pytest.raises(PipelineError, match=r"large.png: expected at most 200,000,000 bytes, found 200,000,001$"):
        read(tmp_path / "large.png")
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, Path("/dev/zero")):
        with pytest.raises(PipelineError, match=f"{path}: expected a file, found a folder, device or FIFO$"):
            read(path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "bmp", "webp", "avif", "ppm"])
def test_a_damaged_file_is_read_or_refused_in_silence(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    content = saved(seven(0.2).convert("RGB"), kind, **({"compression": "tiff_lzw"} if kind == "tiff" else {}))
    random, messages = np.random.default_rng(0), []
    for _ in range(100):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[random.integers(0, min(len(damaged), random.choice([60, 3000])), 3)] = random.integers(0, 256, 3)
        (tmp_path / "damaged").write_bytes(damaged[: random.integers(len(damaged) // 2, 2 * len(damaged))].tobytes())
        try:
            own.prepare(read(tmp_path / "damaged")[0], 28, 28)
        except (PipelineError, ValueError) as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert not any("\n" in line for line in messages)
    assert capfd.readouterr() == ("", "")


def test_among_refused_pictures_the_others_are_prepared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    seven().save(tmp_path / "good\x1b\udcff.png")
    (tmp_path / "bad\n.png").write_bytes((tmp_path / "good\x1b\udcff.png").read_bytes()[:200])
    Image.new("L", (90, 90), 128).save(tmp_path / "blank\n.png")
    names = ["bad\n.png", "good\x1b\udcff.png", "missing.png", "blank\n.png", "good\x1b\udcff.png"]
    prepared = list(own.prepare_all([tmp_path / name for name in names], 28, 28))
    assert [path for path, _, _ in prepared] == [rf"{tmp_path}/good\x1b\udcff.png"] * 2
    lines = capsys.readouterr().err.splitlines()
    expected = [rf"{tmp_path}/bad\n.png", f"{tmp_path}/missing.png", rf"{tmp_path}/blank\n.png"]
    assert [line.split(": ")[:2] for line in lines] == [["error", path] for path in expected]
