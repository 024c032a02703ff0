"""Pictures show the names of data sets and files as they are, whatever their characters and length."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from stages.results import tables
from stages.results.pictures import confusion_matrix, image_sheet, png, save
from stages.support.errors import printable
from tools.common import charts

NAMES = ["Ba$$in digits", r"$x^2_{1}$ and \alpha, 50 %", r"$\frac{$ {_^ %", "🙂🎉 digits", "أرقام عربية", "手写数字"]
NAMES += ["one\ntwo\r\n\tthree\x85\u2028", "</title><b>&amp;", "\u202edigits"]
LONG = ["a name of three hundred letters " * 10, "W" * 300, "手写数字" * 75]


def heading_of(figure: Figure) -> Text:
    """The text of a figure that names the data set."""
    (heading,) = figure.texts or [figure.axes[0].title]
    return heading


def place_of(text: Text) -> Bbox:
    with warnings.catch_warnings(action="ignore"):  # of characters that the font lacks
        return text.get_window_extent(FigureCanvasAgg(text.figure).get_renderer())


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
        heading = heading_of(figure)
        assert printable(name) in heading.get_text()
        assert "\n" not in heading.get_text()
        assert not heading.get_parse_math()

    path = printable(f"{name}.png")
    figure = image_sheet(np.zeros((1, 8, 8)), [path], "cnn")
    png(figure)
    (title,) = figure.axes[0].texts
    assert (title.get_text(), title.get_parse_math()) == (path, False)


@pytest.mark.parametrize("name", LONG)
def test_a_heading_with_a_long_name_is_cut_in_the_middle(name: str) -> None:
    for figure in figures(name):
        whole = heading_of(figure).get_text()
        png(figure)
        heading = heading_of(figure)
        start, end = heading.get_text().split("…")
        assert whole.startswith(start)
        assert whole.endswith(end)
        assert 10 < len(start) < 100
        assert abs(len(start) - len(end)) <= 1
        extent = place_of(heading)
        assert 0.2 * figure.bbox.width < extent.width
        assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
