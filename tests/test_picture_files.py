"""Files of people's pictures are read within limits, or refused in one line."""

import io
import os
import struct
import sys
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
    "seven.eps": (lambda: saved(seven(), "eps"), OTHER),
    "seven.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), OTHER),
    "tag.tiff": (costly_tiff, "cannot read: takes more than 100,000,000 bytes of memory$"),
    "slow.ppm": (lambda: b"P5" + b" " * 10_000_000 + b"8 8 255 " + bytes(64), "not decoded after 0.2 s$"),
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
