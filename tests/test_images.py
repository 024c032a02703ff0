"""The images of a page or a result in one picture, and the rows that a page's script reads, without a browser."""

import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from stages.results import tiles
from tools.common.changes import Comparison
from tools.common.images import Sheet, change_rows, error_images, error_rows
from tools.common.predictions import read_predictions
from tools.common.revision import Revision
from tools.common.templates import html_page

from .conftest import Project
from .reviews import of_models

LABEL = np.array([0, 1, 2, 3])
PROBABILITY = np.array([[0.5, 0.6, 1, 1], [0.9, 0.9, 1, 1], [1, 0.7, 1, 1]])
BASE = of_models(LABEL, np.array([[0, 2, 2, 3], [1, 2, 2, 3], [0, 0, 2, 3]]), PROBABILITY)
ONE = of_models(LABEL, np.array([0, 2, 1, 3]), np.array([0.5, 0.6, 0.7, 1]))


def test_errors_have_a_row_for_each_wrong_prediction_most_confident_first() -> None:
    assert error_rows(BASE) == [
        # index, label, prediction, mean probability, seeds that give it, seeds that get the image wrong
        [0, 0, 1, 0.9, 1, 1],
        [1, 1, 2, 0.75, 2, 3],
        [1, 1, 0, 0.7, 1, 3],
    ]
    assert error_rows(of_models(LABEL, LABEL, np.ones(4))) == []
    (row,) = error_rows(of_models(np.array([1]), np.array([[0], [0]]), np.array([1.7e308])))
    assert row == [0, 1, 0, 1, 2, 2], "a stranger's file has no number that JSON lacks"


def test_changes_add_up_to_the_matrix_that_shows_them() -> None:
    change = Comparison("net", BASE, ONE)
    assert change_rows(change) == [
        [2, 2, 2, 1, "3 of 3 → 0 of 1 seeds"],
        [0, 0, 1, 0.9, "1 of 3 → 0 of 1 seeds"],
        [1, 1, 0, 0.7, "1 of 3 → 0 of 1 seeds"],
        [2, 2, 1, 0.7, "0 of 3 → 1 of 1 seeds"],
        [1, 1, 2, 0.6, "2 of 3 → 1 of 1 seeds"],
        [0, 0, 0, 0.5, "2 of 3 → 1 of 1 seeds"],
    ]
    matrix = np.zeros((10, 10))
    for _, label, prediction, _, note in change_rows(change):
        before, of_base, now, of_head = map(int, re.findall(r"\d+", note))
        matrix[label, prediction] += now / of_head - before / of_base
    np.testing.assert_allclose(matrix, change.confusion_difference(), atol=1e-12)
    same_size = Comparison("net", BASE, of_models(LABEL, np.array([[0, 2, 2, 3]] * 3), np.ones(4)))
    assert {row[4] for row in change_rows(same_size)} == {"2 → 3 seeds", "1 → 0 seeds"}
    other = of_models(LABEL, np.array([0, 1, 1, 3]), np.ones(4))
    assert [row[2:] for row in change_rows(Comparison("net", ONE, other))] == [[1, 1, "now"], [2, 0.6, "in base"]]
    assert change_rows(Comparison("net", ONE, ONE)) == []


def test_images_of_errors_are_those_of_dvc_lock(project: Project) -> None:
    side, picture = Revision("here", None, project.path), project.path / "plots/errors/cnn.png"
    item = read_predictions(side, "cnn")
    pixels = np.load(project.path / "data/prepared/test/images.npy")[..., 0] * 255

    def shown() -> tuple[list[int], list[str]]:
        """How the images shown differ from the arrays, dark on light and light on dark; and why others are missing."""
        images, missing = error_images(side, [item])
        assert not images or set(images) == set(item.errors["index"])
        levels = [abs(of - pixels[index]).max() for index, image in images.items() for of in (255.0 - image, image)]
        return [round(max(levels[kind::2], default=-1)) for kind in (0, 1)], missing

    assert shown() == ([0, 255], [])
    project.edit_json("data/raw/mnist.json", lambda description: description.update(photo=True))
    assert shown() == ([255, 0], [])
    picture.write_bytes(picture.read_bytes() + b"x")
    line = "plots/errors/cnn.png in here: not made from its predictions (dvc.lock), so not shown"
    assert shown() == ([-1, -1], [line])
    picture.unlink()
    assert shown() == ([-1, -1], ["plots/errors/cnn.png: not in here, so these images are not shown"])
    (project.path / "data/raw/mnist.json").unlink()
    assert shown()[1][0].startswith("no pictures of test images of here: data/raw/mnist.json: ")


@pytest.mark.parametrize(
    ("shape", "size", "scaling"),
    [
        ((8, 8), (64, 64), "pixelated"),
        ((32, 64, 3), (64, 32), "pixelated"),
        ((80, 40, 3), (48, 96), "pixelated"),
        ((300, 200), (64, 96), "auto"),
        ((1, 1000), (96, 1), "auto"),
    ],
)
def test_images_are_shown_in_their_proportions(shape: tuple[int, ...], size: tuple[int, int], scaling: str) -> None:
    images = {index: np.full(shape, index, np.uint8) for index in (3, 30, 5)} | {9: np.zeros((2, 2), np.uint8)}
    sheet = Sheet.of(images, [30, 3, 3, 9, 77])
    assert (sheet.places, sheet.size) == ({3: 0, 30: 1}, size), "one of another size, and one that is missing"
    assert f"image-rendering: {scaling};" in sheet.style
    joined = np.asarray(Image.open(io.BytesIO(sheet.png)))
    assert tiles.split(joined, *shape[:2])[:2].reshape(2, -1).tolist() == [[3] * np.prod(shape), [30] * np.prod(shape)]


def test_an_image_has_its_place_in_rows_of_25() -> None:
    images = {index: np.zeros((8, 4), np.uint8) for index in range(100, 160)}
    sheet = Sheet.of(images, images)
    places = [sheet.position(index) for index in (100, 124, 125, 159, 160)]
    assert places == ["0px 0px", "-768px 0px", "0px -64px", "-288px -128px", ""]
    assert "background-size: 800px auto;" in sheet.style
    assert Sheet.of({}, [1]).places == {}


def test_data_of_the_script_cannot_end_its_element() -> None:
    names = ["</script><b>", "<!--", "\x1b[31m"]
    page = html_page("title", "text", data=Sheet.of({}, []).script_data(names, 1, {"net": []}))
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    assert json.loads(data)["names"] == ["</script><b>", "<!--", "\\x1b[31m"]
    assert page.count("</script>") == 2
    assert "<script" not in html_page("title", "text")


SHAPES = st.tuples(st.integers(0, 60), st.integers(1, 9), st.integers(1, 9))


@given(arrays(np.uint8, SHAPES))
def test_split_gives_back_what_join_took_and_black_after_it(images: np.ndarray) -> None:
    count, height, width = images.shape
    given_back = tiles.split(tiles.join(images), height, width)
    assert np.array_equal(given_back[:count], images)
    assert not given_back[count:].any()
    assert len(given_back) - count < tiles.COLUMNS or not count


@pytest.mark.parametrize(("mode", "size"), [("RGB", (100, 4)), ("L", (99, 4)), ("L", (100, 5)), ("L", (100, 1604))])
def test_another_picture_is_refused(mode: str, size: tuple[int, int]) -> None:
    Image.new(mode, size).save(stream := io.BytesIO(), format="png")
    with pytest.raises(ValueError, match=f"expected 25 images of 4 × 4 pixels per row, found {size[0]} ×"):
        tiles.read(stream.getvalue(), 4, 4)
