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


def seven(scale: float = 1, place: tuple[int, int] = (60, 40), width: int = 20) -> Image.Image:
    """A 7, dark on light, in a picture of 300 x 260 pixels times `scale`."""
    picture = Image.new("L", (300, 260), PAPER)
    points = [(place[0] + x, place[1] + y) for x, y in ((0, 0), (100, 0), (40, 150))]
    ImageDraw.Draw(picture).line(points, fill=INK, width=width, joint="curve")
    return picture.resize((round(300 * scale), round(260 * scale)), Image.Resampling.LANCZOS)


def prepare(picture: Image.Image, height: int = 28, width: int = 28) -> np.ndarray:
    """What the model takes of a picture on which nothing is to be noted."""
    image, notes = own.prepare(picture, height, width)
    assert notes == []
    return image


EXPECTED = prepare(seven())


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


@settings(max_examples=50)
@given(
    scale=st.floats(0.2, 2),  # larger ones take long
    place=st.tuples(st.integers(40, 180), st.integers(40, 90)),
    inverted=st.booleans(),
    width=st.integers(14, 28),
)
@example(scale=5, place=(40, 90), inverted=False, width=14)
@example(scale=5, place=(180, 40), inverted=True, width=28)
def test_size_place_and_polarity_do_not_matter(scale, place, inverted, width) -> None:
    picture = seven(scale, place, width)
    if inverted:
        picture = picture.point(lambda value: 255 - value)
    assert likeness(prepare(picture)) > 0.85


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


def twelve_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 16)


def hot_pixels(picture: Image.Image) -> Image.Image:
    """12 bits, but for two pixels that the sensor could not read."""
    values = np.asarray(picture).astype(np.uint16) * 16
    values[5, 7] = values[200, 30] = 65535
    return Image.fromarray(values)


def few_levels(picture: Image.Image) -> Image.Image:
    """As colours of 12 bits in a file of 16 are read."""
    return picture.point(lambda value: value // 16).convert("RGB")


def one_bit(picture: Image.Image) -> Image.Image:
    return picture.convert("1")


FORMS = [rgb, palette, cmyk, sixteen_bits, twelve_bits, hot_pixels, few_levels, one_bit]
FORMS += [dark_on_nothing, light_on_nothing, photographed]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff"])
def test_any_kind_of_picture_shows_the_same_digit(form, suffix: str, tmp_path) -> None:
    picture = form(seven())
    fits_jpeg = picture.mode in ("1", "L", "RGB", "CMYK")
    if (suffix == "png" and picture.mode == "CMYK") or (suffix == "jpeg" and not fits_jpeg):
        suffix = "tiff"
    picture.save(tmp_path / f"seven.{suffix}")
    assert likeness(prepare(read(tmp_path / f"seven.{suffix}")[0])) > 0.85


@pytest.mark.parametrize("scale", [1 / 255, 1, 1e-9, 1e34])
@pytest.mark.parametrize("odd", [0, np.nan, np.inf, -np.inf])
def test_floating_point_is_taken_by_its_range_without_what_is_no_number(scale: float, odd: float, tmp_path) -> None:
    values = (np.asarray(seven()).astype(np.float32) - 100) * np.float32(scale)
    if odd:
        values[:9, :9] = odd
    Image.fromarray(values).save(tmp_path / "seven.tiff")
    assert likeness(prepare(read(tmp_path / "seven.tiff")[0])) > 0.95


def drawn(lines: list[tuple[int, ...]], ink: int = INK, width: int = 4) -> Image.Image:
    """The 7, which fills (60, 40) to (160, 190) of a picture of 300 x 260, and straight lines."""
    picture = seven()
    for line in lines:
        ImageDraw.Draw(picture).line(line, fill=ink, width=width)
    return picture


def box(left: int, top: int, right: int, bottom: int) -> list[tuple[int, ...]]:
    return [(left, top, right, top, right, bottom, left, bottom, left, top)]


def on_a_desk(angle: float = 0) -> Image.Image:
    desk = Image.new("L", (500, 450), 60)
    sheet = seven().convert("LA").rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    desk.paste(sheet.getchannel("L"), (90, 80), sheet.getchannel("A"))
    return desk


SURROUNDED = {
    "a frame at the border": (drawn(box(1, 1, 298, 258)), "surroundings left out"),
    "a thin frame at the border": (drawn(box(0, 0, 299, 259), width=1), "surroundings left out"),
    "an edge on one side": (drawn([(2, 0, 2, 260)]), "ruled lines left out"),
    "a form's field": (drawn(box(35, 15, 190, 215)), "frame or line left out"),
    "a field within a field": (drawn(box(35, 15, 190, 215) + box(20, 5, 240, 240)), "frame or line left out"),
    "a field open above": (drawn([(35, 15, 35, 215, 190, 215, 190, 15)]), "frame or line left out"),
    "half a field": (drawn([(35, 15, 35, 215, 190, 215)]), "frame or line left out"),
    "a field that the digit crosses": (drawn(box(30, 80, 190, 215)), "frame or line left out"),
    "cells of a form": (drawn([(0, 20, 300, 20), (0, 210, 300, 210), (40, 20, 40, 210), (190, 20, 190, 210)]), "ruled"),
    "an underline": (drawn([(40, 215, 180, 215)]), "frame or line left out"),
    "a line across the page": (drawn([(0, 120, 300, 125)]), "ruled lines left out"),
    "lined paper": (drawn([(0, y, 300, y) for y in range(10, 260, 45)], width=2), "ruled lines left out"),
    "a sheet on a dark desk": (on_a_desk(), "surroundings left out"),
    "a sheet askew on a dark desk": (on_a_desk(8), "surroundings left out"),
    "a blot at the border": (drawn([(250, 250, 300, 260)], width=50), "shapes at the border left out"),
    "a full stop": (drawn([(200, 180, 218, 180)], width=18), "small marks left out"),
}


@pytest.mark.parametrize("name", SURROUNDED)
@pytest.mark.parametrize("inverted", [False, True])
def test_what_surrounds_the_digit_is_left_out_and_noted(name: str, inverted: bool) -> None:
    picture, expected = SURROUNDED[name]
    image, notes = own.prepare(picture.point(lambda value: 255 - value) if inverted else picture, 28, 28)
    assert any(expected in note for note in notes), notes
    if "askew" in name:
        image = ndimage.rotate(image, -8, reshape=False, order=1)
    assert likeness(image) > 0.8


def noise(*size: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))


def shape(draw: str, *arguments: object, **options: object) -> Image.Image:
    picture = Image.new("L", (300, 260), PAPER)
    getattr(ImageDraw.Draw(picture), draw)(*arguments, **options)
    return picture


def lined_paper() -> Image.Image:
    page = np.full((260, 300), PAPER, np.uint8)
    page[10::45] = page[11::45] = INK
    return Image.fromarray(page)


def side_by_side(*pictures: Image.Image, margin: int = 20) -> Image.Image:
    page = np.hstack([np.asarray(picture)[:, 60 - margin : 160 + margin] for picture in pictures])
    return Image.fromarray(np.pad(page, 20, constant_values=PAPER))


PICTURE_SIZE = "expected a picture at least 8 pixels high and wide"
UNREADABLE = {
    "two digits": (side_by_side(seven(), seven()), "found 2 separate shapes"),
    "two digits close together": (side_by_side(seven(), seven(), margin=13), "found 2 shapes side by side"),
    "three digits": (side_by_side(seven(), seven(), seven()), "found 3 separate shapes"),
    "an empty field": (shape("rectangle", (60, 40, 220, 200), outline=INK, width=4), "found an empty frame"),
    "lined paper": (lined_paper(), "found 6 ruled lines"),
    "a filled square": (shape("rectangle", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a filled disc": (shape("ellipse", (60, 40, 140, 120), fill=INK), "found a filled shape"),
    "a dash": (shape("line", (60, 100, 200, 100), fill=INK, width=10), "times as wide as high"),
    "a dot": (shape("ellipse", (60, 40, 64, 44), fill=INK), "expected a digit at least 8 pixels high or wide"),
    "noise": (noise(300, 300), "found"),
    "faint noise": (noise(300, 300).point(lambda value: 190 + value // 6), "found"),
    "two pixels": (Image.fromarray(np.array([[0, 255]], np.uint8)), f"{PICTURE_SIZE}, found 1 x 2 pixels"),
    "three by three": (noise(3, 3), PICTURE_SIZE),
    "a line of pixels": (noise(1000, 1), PICTURE_SIZE),
    "nothing but transparent": (Image.new("RGBA", (300, 260)), "found a blank picture"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_not_one_digit_is_refused(name: str) -> None:
    picture, expected = UNREADABLE[name]
    with pytest.raises(ValueError, match=expected):
        own.prepare(picture, 28, 28)


def test_strokes_that_do_not_touch_are_one_digit() -> None:
    loose = np.array(seven())
    loose[75:85] = PAPER
    assert likeness(prepare(Image.fromarray(loose))) > 0.85


def test_a_digit_cut_off_by_the_border_is_noted() -> None:
    assert own.prepare(seven().crop((0, 60, 300, 260)), 28, 28)[1] == ["touches the border"]
    assert own.prepare(seven().crop((50, 30, 171, 195)), 28, 28)[1] == []  # cut out closely


def test_of_several_frames_the_first_is_taken_and_noted(tmp_path) -> None:
    seven().save(tmp_path / "two.gif", save_all=True, append_images=[seven().rotate(180)])
    picture, notes = read(tmp_path / "two.gif")
    assert notes == ["first of 2 frames"]
    assert likeness(prepare(picture)) > 0.95


def test_the_line_of_a_thin_pen_is_as_broad_as_a_strokes_least() -> None:
    image = prepare(seven(width=2))
    assert likeness(image) > 0.8
    assert (image > 0.3).sum() > 0.6 * (EXPECTED > 0.3).sum()


def test_a_photo_is_turned_as_its_camera_says(tmp_path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    seven().rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif)
    assert likeness(prepare(read(tmp_path / "photo.jpg")[0])) > 0.95


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (300, 300)])
def test_a_blank_picture_is_reported(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected a digit, found a blank picture \(contrast 0% of black to white\)"):
        prepare(Image.new("L", size, 128))


def test_a_damaged_picture_is_reported(tmp_path) -> None:
    stream = io.BytesIO()
    seven().save(stream, "png")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[:200])
    with pytest.raises(PipelineError, match=r"half.png: cannot read: "):
        read(tmp_path / "half.png")


@pytest.mark.parametrize("form", FORMS)
def test_a_large_picture_is_scaled_down_part_by_part(form, tmp_path, monkeypatch) -> None:
    form(seven()).save(tmp_path / "seven.tiff")
    monkeypatch.setattr(pictures, "LARGEST", 70)
    monkeypatch.setattr(pictures, "TILE", 16)
    monkeypatch.setattr(pictures, "SPIKES", 50)
    picture = read(tmp_path / "seven.tiff")[0]
    assert picture.size == (70, 61)
    assert likeness(prepare(picture)) > 0.85


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says how large it is, and has no pixels."""
    header, nothing = struct.pack(">2L5B", width, height, 8, 0, 0, 0, 0), zlib.compress(b"")
    chunks = [(b"IHDR", header), (b"IDAT", nothing), (b"IEND", b"")]
    sums = [struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks]
    parts = [struct.pack(">L", len(c[1])) + c[0] + c[1] + check for c, check in zip(chunks, sums, strict=True)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int, height: int) -> bytes:
    """A progressive JPEG that says that it is larger than it is."""
    stream = io.BytesIO()
    seven().save(stream, "jpeg", progressive=True)
    real, said = (struct.pack(">2H", *size) for size in ((260, 300), (height, width)))
    return stream.getvalue().replace(real, said, 1)


def webp(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "webp", lossless=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("made", "most"),
    [
        (png(10_000, 10_000), "50,000,000 pixels, found 10,000 x 10,000"),
        (jpeg(10_000, 10_000), "50,000,000 pixels, found 10,000 x 10,000"),
        (webp(5_100, 5_000), "25,000,000 pixels, found 5,100 x 5,000"),  # decoding takes more memory
    ],
    ids=["png", "jpeg", "webp"],
)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(made: bytes, most: str, tmp_path) -> None:
    (tmp_path / "large").write_bytes(made)
    with pytest.raises(PipelineError, match=f"large: expected at most {most}$"):
        read(tmp_path / "large")


def test_a_file_of_too_many_bytes_is_refused_before_it_is_opened(tmp_path) -> None:
    path = tmp_path / "large.png"
    path.touch(mode=0o000)
    os.truncate(path, 200_000_001)
    with pytest.raises(PipelineError, match=r"large.png: expected at most 200,000,000 bytes, found 200,000,001$"):
        read(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, found in ((tmp_path / "pipe.png", "FIFO"), (tmp_path, "folder"), (Path("/dev/zero"), "device")):
        with pytest.raises(PipelineError, match=f"{path}: expected a file, found a {found}$"):
            read(path)


def test_a_format_that_starts_a_program_is_refused(tmp_path) -> None:
    seven().save(tmp_path / "seven.eps")
    with pytest.raises(
        PipelineError, match=r"seven.eps: expected a picture, such as PNG or JPEG; found something else"
    ):
        read(tmp_path / "seven.eps")


@pytest.mark.parametrize(
    ("name", "brands", "command"),
    [
        ("seven.heic", b"heic\0\0\0\0mif1heicmiaf", "heif-convert seven.heic seven.jpg"),
        ("seven.HEIC", b"mif1\0\0\0\0mif1heic", "heif-convert seven.HEIC seven.jpg"),  # as some programs write it
        ("my seven.jpg", b"heix\0\0\0\0mif1heix", "heif-convert 'my seven.jpg' 'my seven.jpeg'"),
        ("seven.heics", b"hevc\0\0\0\0msf1hevc", "heif-convert seven.heics seven.jpg"),  # a sequence
        ("seven.avif", b"mif1\0\0\0\0mif1avif", None),
        ("seven.mp4", b"isom\0\0\0\0isomavc1", None),
        ("seven.png", b"", None),
    ],
)
def test_a_picture_of_an_iphone_is_told_with_how_to_convert_it(
    tmp_path, monkeypatch, name: str, brands: bytes, command: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    box = b"ftyp" + brands
    Path(name).write_bytes((len(box) + 4).to_bytes(4) + box + bytes(100))
    with pytest.raises(PipelineError) as error:
        read(Path(name))
    expected = f"found HEIC, in which iPhones take pictures; convert it, by: {command}, on a Mac by: sips "
    assert (expected in str(error.value)) == (command is not None)
    assert str(error.value).startswith(f"{name}: ")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_small_picture_for_which_a_decoder_takes_much_memory_is_refused(tmp_path, monkeypatch) -> None:
    count = 15_000_000
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (273, 3, count, 200), (279, 4, 1, 64)]
    tags = b"".join(struct.pack("<2H2L", *entry) for entry in entries)  # 273 says where each strip of the picture is
    header = b"II*\0" + struct.pack("<LH", 8, len(entries)) + tags
    (tmp_path / "tag.tiff").write_bytes(header.ljust(200, b"\0") + bytes(2 * count))
    monkeypatch.setattr(pictures, "MEMORY", 100_000_000)
    with pytest.raises(PipelineError, match=r"tag.tiff: cannot read: takes more than 100,000,000 bytes of memory$"):
        read(tmp_path / "tag.tiff")


def test_a_picture_that_takes_long_to_decode_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "slow.ppm").write_bytes(b"P5" + b" " * 10_000_000 + b"8 8 255 " + bytes(64))
    monkeypatch.setattr(pictures, "SECONDS", 0.2)
    with pytest.raises(PipelineError, match=r"slow.ppm: not decoded after 0.2 s$"):
        read(tmp_path / "slow.ppm")


def test_frames_of_a_large_file_are_not_counted(tmp_path, monkeypatch) -> None:
    seven().save(tmp_path / "two.gif", save_all=True, append_images=[seven().rotate(180)])
    monkeypatch.setattr(pictures, "COUNTED", 0)
    assert read(tmp_path / "two.gif")[1] == ["first of several frames"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "bmp", "webp", "avif", "ppm"])
def test_a_damaged_file_of_any_format_is_read_or_refused_in_silence(kind: str, tmp_path, capfd) -> None:
    stream = io.BytesIO()
    rgb(seven(0.2)).save(stream, kind, **({"compression": "tiff_lzw"} if kind == "tiff" else {}))
    random, told = np.random.default_rng(0), []
    for _ in range(100):
        damaged = np.frombuffer(stream.getvalue(), np.uint8).copy()
        damaged[random.integers(0, min(len(damaged), random.choice([60, 3000])), 3)] = random.integers(0, 256, 3)
        (tmp_path / "damaged").write_bytes(damaged[: random.integers(len(damaged) // 2, 2 * len(damaged))].tobytes())
        try:
            own.prepare(read(tmp_path / "damaged")[0], 28, 28)
        except (PipelineError, ValueError) as error:
            told.append(str(error))
    assert len(told) > 10
    assert not any("\n" in line for line in told)
    assert capfd.readouterr() == ("", "")


def test_among_damaged_files_the_others_are_classified(tmp_path, capsys) -> None:
    seven().save(tmp_path / "good\x1b\udcff.png")
    (tmp_path / "bad\n.png").write_bytes((tmp_path / "good\x1b\udcff.png").read_bytes()[:200])
    names = ["bad\n.png", "good\x1b\udcff.png", "missing.png", "good\x1b\udcff.png"]
    cells = list(own.each([tmp_path / name for name in names], 28, 28, 0))
    assert [cell.path for cell in cells] == [rf"{tmp_path}/good\x1b\udcff.png"] * 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["error", rf"{tmp_path}/bad\n.png"],
        ["error", f"{tmp_path}/missing.png"],
    ]


def test_floating_point_without_a_number_is_a_blank_picture(tmp_path) -> None:
    Image.fromarray(np.full((260, 300), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    with pytest.raises(ValueError, match="found a blank picture"):
        own.prepare(read(tmp_path / "nan.tiff")[0], 28, 28)


@pytest.mark.parametrize("size", [b"0 9", b"9 0"])
def test_a_picture_without_pixels_is_reported(size: bytes, tmp_path) -> None:
    (tmp_path / "nothing.ppm").write_bytes(b"P5 " + size + b" 255 ")
    with pytest.raises(PipelineError, match=r"nothing.ppm: "):
        read(tmp_path / "nothing.ppm")


def test_a_photo_whose_exif_data_is_damaged_is_reported(tmp_path) -> None:
    seven().save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff")
    with pytest.raises(PipelineError, match=r"photo.jpg: cannot read: "):
        read(tmp_path / "photo.jpg")
