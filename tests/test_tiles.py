"""Images in one PNG: what is written is read again, pixel for pixel."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from stages.results import tiles

SHAPES = st.tuples(st.integers(0, 60), st.integers(1, 9), st.integers(1, 9))


def picture(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png")
    return stream.getvalue()


@given(arrays(np.uint8, SHAPES))
def test_split_gives_back_what_join_took_and_black_after_it(images: np.ndarray) -> None:
    count, height, width = images.shape
    given_back = tiles.split(tiles.join(images), height, width)
    assert np.array_equal(given_back[:count], images)
    assert not given_back[count:].any()
    assert len(given_back) - count < tiles.COLUMNS or not count


def test_a_written_picture_is_read_again(tmp_path: Path) -> None:
    images = np.arange(30 * 4 * 6, dtype=np.uint8).reshape(30, 4, 6)
    tiles.write(images, tmp_path / "errors.png")
    assert np.array_equal(tiles.read((tmp_path / "errors.png").read_bytes(), 4, 6)[:30], images)


@pytest.mark.parametrize(("mode", "size"), [("RGB", (100, 4)), ("L", (99, 4)), ("L", (100, 5))])
def test_another_picture_is_refused(mode: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"expected 25 images of 4 × 4 pixels per row, found {size[0]} ×"):
        tiles.read(picture(np.asarray(Image.new(mode, size))), 4, 4)
