"""Pictures show the names of data sets and files as they are, whatever their characters."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stages import preprocess
from stages.data.archive import Description, write_archive
from stages.report import draw_confusion, draw_worst_errors, write_confusion, write_errors
from stages.results import pictures, tables, tiles
from stages.results.pictures import confusion_matrix, image_sheet, png, save, shortened
from stages.support.errors import printable
from tools.common import charts

from .conftest import ROOT, TUTORIALS, tiny_archive
from .reviews import of_models

NAMES = ["Ba$$in digits", r"$x^2_{1}$ and \alpha, 50 %", r"$\frac{$ {_^ %", "🙂🎉 digits", "أرقام عربية", "手写数字"]
NAMES += ["one\ntwo\r\n\tthree\x85\u2028", "</title><b>&amp;", "\u202edigits"]


def heading_of(figure: Figure) -> Text:
    """The text of a figure that names the data set."""
    (heading,) = figure.texts or [figure.axes[0].title]
    return heading


def figures(name: str) -> list[Figure]:
    """All pictures whose heading names the data set."""
    counts = tables.confusion(np.arange(3), np.arange(3)[np.newaxis], range(3))
    row = {"accuracy": 0.9, "low": 0.8, "high": 0.95, "confidence": 0.95, "published": np.nan}
    curve = {"epoch": [1], "split": "train", "metric": charts.CURVES[0], "value": 1.0}
    return [
        image_sheet(np.zeros((2, 8, 8)), ["l=0", "l=1"], f"{name}: training images from index 0"),
        confusion_matrix(counts, counts, f"cnn on {name}: confusion matrix of the test images"),
        charts.comparison(pd.DataFrame({"architecture": ["cnn"]} | row), f"Architectures on {name}"),
        charts.training_curves(pd.DataFrame({"architecture": "cnn"} | curve), f"Training on {name}"),
    ]


def drawn(figure: Figure) -> list[dict[str, list[float]]]:
    """The lines of each panel by their labels, as the values on the vertical axis."""
    return [{line.get_label(): list(line.get_ydata()) for line in axis.lines} for axis in figure.axes]


def test_charts_show_the_figures_of_their_tables() -> None:
    columns = {"architecture": ["best", "worst"], "accuracy": [0.875, 0.5], "low": [0.75, 0.125], "high": [1, 0.625]}
    figure = charts.comparison(pd.DataFrame(columns | {"confidence": 0.9, "published": [np.nan, 0.75]}), "digits")
    (axis,) = figure.axes
    (bars,) = axis.collections
    assert [bar.tolist() for bar in bars.get_segments()] == [[[0.75, 0], [1, 0]], [[0.125, 1], [0.625, 1]]]
    assert drawn(figure)[0]["published by the tutorial"][1] == 1
    assert [label.get_text() for label in axis.get_yticklabels()] == ["best", "worst"]
    assert axis.yaxis_inverted(), "the best is above"


def test_curves_are_those_of_their_architecture_split_and_metric() -> None:
    kinds = [(split, metric) for metric in charts.CURVES for split in ("train", "validation")]
    rows = [(name, 1, *kind, 10 * side + value) for side, name in enumerate("ab") for value, kind in enumerate(kinds)]
    history = pd.DataFrame(rows, columns=["architecture", "epoch", "split", "metric", "value"])
    base, head = (history[history["architecture"] == name] for name in "ab")
    assert drawn(charts.training_curves(history, "digits")) == [
        {"train": [value], "validation": [value + 1]} for value in (0, 2, 10, 12)
    ]
    assert drawn(charts.before_and_after(base, head, "digits")) == [
        {
            "base: train": [value],
            "base: validation": [value + 1],
            "now: train": [value + 10],
            "now: validation": [value + 11],
        }
        for value in (0, 2)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    """Without a warning, too, for which the tests would fail."""
    for figure in figures(name):
        save(figure, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            assert picture.size[0] == round(figure.get_figwidth() * 110)
            assert set(picture.info) == {"dpi"}, "no version or date"
        heading = heading_of(figure)
        assert printable(name) in heading.get_text()
        assert "\n" not in heading.get_text()
        assert not heading.get_parse_math()

    path = printable(f"{name}.png")
    figure = image_sheet(np.zeros((1, 8, 8)), [path], "cnn")
    png(figure)
    (title,) = figure.axes[0].texts
    assert (title.get_text(), title.get_parse_math()) == (path, False)


def test_a_heading_that_is_too_wide_is_cut_in_the_middle() -> None:
    for figure in figures("W" * 300):
        whole = heading_of(figure).get_text()
        png(figure)
        heading = heading_of(figure)
        start, end = heading.get_text().split("…")
        assert (whole[: len(start)], whole[-len(end) :]) == (start, end)
        assert abs(len(end) - len(start)) <= 1
        extent = heading.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
        assert 0 <= extent.y0 < extent.y1 <= figure.bbox.height
        assert extent.width > 0.5 * figure.bbox.width


def test_a_sheet_has_five_images_in_a_row_each_below_its_title() -> None:
    images = np.zeros((7, 20, 10), np.uint8)
    images[:, 3, 4] = range(50, 57)
    figure = image_sheet(images, list("abcdefg"), "heading")
    (axis,) = figure.axes
    assert figure.get_size_inches().tolist() == [7.5, 4.1]
    assert axis.get_position().bounds == (0, 0, 1, pytest.approx(3.6 / 4.1)), "below the heading"
    pixels = axis.images[0].get_array()
    corners = [(29 * (place // 5) + 9, 12 * (place % 5) + 1) for place in range(7)]  # of images 29 and 12 pixels apart
    assert pixels.shape == (2 * 29, 5 * 12)
    assert np.argwhere(pixels == 1).tolist() == sorted([top + 3, left + 4] for top, left in corners), "its ink"
    assert np.count_nonzero(pixels) == 7
    assert (axis.images[0].get_cmap().name, axis.images[0].get_clim()) == ("gray_r", (0, 1))
    titles = [(text.get_text(), text.get_position()) for text in axis.texts]
    assert titles == [(title, (left + 5, top - 0.5)) for title, (top, left) in zip("abcdefg", corners, strict=True)]
    assert [text.get_text() for text in image_sheet(np.zeros((0, 8, 8, 1)), [], "heading").axes[0].texts] == ["none"]


@pytest.mark.parametrize("dark", [np.uint8(51), np.float32(0.2)])
def test_photos_are_shown_as_they_are(dark: np.generic) -> None:
    drawn = image_sheet(np.full((1, 20, 10, 3), dark), [""], "heading", photo=True).axes[0].images[0]
    pixels = np.asarray(drawn.get_array())
    assert pixels.shape == (29, 5 * 12, 3)
    np.testing.assert_allclose(pixels[9:, 1:11], 0.2, rtol=1e-6)
    assert (pixels == 1).sum() == pixels.size - 600, "the rest is white"
    assert drawn.get_cmap().name == "gray"


def test_a_confusion_matrix_has_labels_as_rows() -> None:
    counts = pd.DataFrame([[8, 2, 0], [0, 1000, 0], [0, 0, 0]], list("abc"), list("abc"))
    shares = tables.normalised(counts)
    panels = confusion_matrix(counts, shares, "heading").axes
    cells = [[(text.get_text(), *text.get_position(), text.get_color()) for text in axis.texts] for axis in panels]
    assert cells == [  # prediction, label
        [("8", 0, 0, "white"), ("2", 1, 0, "black"), ("1,000", 1, 1, "white")],
        [("80.0", 0, 0, "white"), ("20.0", 1, 0, "black"), ("100.0", 1, 1, "white")],
    ]
    for axis in panels:
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("prediction", "label")
        assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
        np.testing.assert_array_equal(axis.images[0].get_array()[:2], shares[:2])
        assert axis.images[0].get_clim() == (0, pytest.approx(1.6 * 0.2)), "of the largest error"


@pytest.mark.parametrize(
    ("names", "size", "rotation"),
    [
        (range(10), (10.4, 5.2), 0),
        (range(90, 110), (20.8, 10.4), 0),
        (["automobile", "cat"], None, 90),
        (["W" * 16, "b" * 12, "cat"], None, 90),
        (["little " * 9, *"c" * 11], None, 90),
    ],
)
def test_a_confusion_matrix_has_room_for_its_classes_and_their_names(names, size, rotation: int) -> None:
    counts = pd.DataFrame(np.eye(len(names)), names, names)
    figure = confusion_matrix(counts, counts, "heading")
    assert size is None or tuple(figure.get_size_inches()) == pytest.approx(size, abs=0.2)
    assert {label.get_rotation() for axis in figure.axes for label in axis.get_xticklabels()} == {rotation}
    png(figure)
    left, right = (axis.get_tightbbox() for axis in figure.axes)
    assert 0 <= left.x0 < left.x1 < right.x0 < right.x1 <= figure.bbox.width
    for box in (left, right):
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def test_the_names_of_classes_are_cut_in_the_middle() -> None:
    assert [shortened(name) for name in ("a" * 16, "a" * 8 + "b" * 9)] == ["a" * 16, "a" * 8 + "…" + "b" * 8]
    assert shortened("abcdefghij", 9) == "abcd…ghij"


def test_the_worst_errors_come_first_in_the_picture_and_in_the_images_that_are_kept(tmp_path, monkeypatch) -> None:
    models = of_models(np.array([0, 1, 2, 3]), np.array([1, 1, 0, 3]), np.array([0.5, 0.9, 0.75, 1]))
    images = np.zeros((4, 8, 8, 1), np.float32)
    images[range(4), range(4), 0, 0] = [0.2, 0.4, 0.6, 0.8]
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "save", lambda figure, _: drawn.append(figure))
    for limit in (5, 1):
        draw_worst_errors(models, images, False, limit, tmp_path)
    titles = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn]
    assert titles == [["2: l=2,p=0\n75.0%", "0: l=0,p=1\n50.0%"], ["2: l=2,p=0\n75.0%"]]
    assert heading_of(drawn[0]).get_text() == "net on tiny digits: most confident errors"
    pixels = drawn[0].axes[0].images[0].get_array()
    assert np.argwhere(pixels).tolist() == [[4, 11], [6, 1]]

    several = of_models(models.label, np.array([[0, 2, 2, 3], [1, 2, 2, 3], [1, 1, 2, 3]]), models.probability[0])
    for predictions in (several, replace(several, class_names=("zero", "a long name", *map(str, range(2, 10))))):
        draw_worst_errors(predictions, images, False, 5, tmp_path)
        draw_confusion(predictions, tmp_path)
    titles = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn[2::2]]
    assert titles == [
        ["1: l=1,p=2\n2 of 3, 90.0%", "0: l=0,p=1\n2 of 3, 50.0%"],
        ["a lo…name → 2\n1, 2 of 3, 90.0%", "zero → a lo…name\n0, 2 of 3, 50.0%"],
    ]
    confusion = "net on tiny digits: confusion matrix of the test images, sum of 3 seeds"
    headings = ["net on tiny digits: errors that most seeds make", confusion]
    assert [heading_of(figure).get_text() for figure in drawn[2:]] == 2 * headings
    write_errors(models, images, 25, tmp_path / "errors.png")
    kept = tiles.read((tmp_path / "errors.png").read_bytes(), 8, 8)
    assert (kept[0, 2, 0], kept[1, 0, 0], np.count_nonzero(kept)) == (153, 51, 2)


def test_dvc_draws_the_pairs_of_label_and_prediction_that_occur(tmp_path: Path) -> None:
    label, prediction = np.array([0, 1, 1, 2]), np.array([[0, 1, 2, 2], [0, 1, 1, 2]])
    write_confusion(of_models(label, prediction, np.ones(4), classes=3), tmp_path / "net.json")
    rows = json.loads((tmp_path / "net.json").read_text())
    assert {row["dataset"] for row in rows} == {"tiny digits, 2 seeds"}
    pairs = [[row["label"], row["prediction"], row["images"]] for row in rows]
    assert pairs == [[0, 0, 2], [1, 1, 3], [1, 2, 1], [2, 2, 2]]


def test_the_sample_sheet_shows_the_images_that_params_name(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    samples = "samples: {first: 3, count: 2}"
    (tmp_path / "params.yaml").write_text(re.sub(r"samples: \{.*\}", samples, TUTORIALS.read_text()))
    monkeypatch.chdir(tmp_path)
    write_archive(Path("a.npz"), archive := tiny_archive())
    drawn: list[Figure] = []
    monkeypatch.setattr(preprocess, "save", lambda figure, _: drawn.append(figure))
    monkeypatch.setattr(sys, "argv", ["preprocess", "a.npz", "a.json", "out", "sheet.png"])
    names = tuple(f"the class number {number}" for number in range(10))
    for named in (archive, replace(archive, class_names=names)):
        Description.of(named, "tiny digits", ["a.npz"]).write(Path("a.json"))
        preprocess.main()
    assert {heading_of(figure).get_text() for figure in drawn} == {"tiny digits: training images from index 3"}
    titles = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn]
    assert titles == [["l=3", "l=4"], ["the clas…number 3", "the clas…number 4"]]
    train, test = capsys.readouterr().out.splitlines()[:2]
    assert train == "train images float32 (300, 8, 8, 1) in [0, 1], labels float32 (300, 10)"
    assert test == "test  images float32 (100, 8, 8, 1) in [0, 1], labels float32 (100, 10)"
