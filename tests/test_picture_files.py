"""Files of people's pictures are read within limits, or refused in one line."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from stages.support.errors import PipelineError
from tools.digits import own, pictures
from tools.digits.pictures import read

from .test_own_picture import seven


def saved(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says how large it is, and has no pixels."""
    header, nothing = struct.pack(">2L5B", width, height, 8, 0, 0, 0, 0), zlib.compress(b"")
    chunks = [(b"IHDR", header), (b"IDAT", nothing), (b"IEND", b"")]
    sums = [struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks]
    parts = [struct.pack(">L", len(c[1])) + c[0] + c[1] + check for c, check in zip(chunks, sums, strict=True)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


OTHER = "expected a picture in PNG, JPEG, TIFF, GIF, BMP, WEBP, AVIF, PPM; convert others, such as an iPhone's HEIC"
REFUSED = {
    "half.png": (lambda: saved(seven(), "png")[:200], "cannot read: "),
    "pixels.png": (lambda: png(10_000, 10_000), "expected at most 50,000,000 pixels, found 10,000 x 10,000$"),
    "seven.eps": (lambda: saved(seven(), "eps"), OTHER),
    "seven.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), OTHER),
    "slow.ppm": (lambda: b"P5" + b" " * 10_000_000 + b"8 8 255 " + bytes(64), "not decoded after 0.2 s$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SECONDS", 0.2 if name == "slow.ppm" else 60)
    make, expected = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(PipelineError, match=f"{name}: {expected}"):
        read(tmp_path / name)


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
