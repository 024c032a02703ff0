"""Pictures show the names of data sets and files as they are, whatever their characters."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stages.results import tables
from stages.results.pictures import confusion_matrix, image_sheet, png, save
from stages.support.errors import printable
from tools.common import charts

NAMES = [r"$x^2_{1}$ and \alpha, 50 %", r"$\frac{$ {_^ %", "🙂🎉 手写数字", "one\ntwo\r\n\tthree\x85\u2028"]


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
