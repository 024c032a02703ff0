"""Draws the pictures with matplotlib. Every picture's heading names the data set."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from stages.common.files import replacing

DPI = 110
mpl.rcdefaults()  # whatever stands in a file matplotlibrc in the project's folder, which matplotlib reads first
LONG = 40  # characters; a shorter heading fits into every figure
NAME = 16  # characters of a class's name
NUMBER = 0.2  # inches that a number of two digits takes beside an axis


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, as `png` draws it."""
    with replacing(path) as partial:
        partial.write_bytes(png(figure))


def png(figure: Figure) -> bytes:
    """Draws a PNG without version or date in its metadata, so that it depends on the figure alone.

    Names of data sets and files may hold any characters: none is taken for mathematics, and one that the font lacks is
    drawn as a box. In headings, line breaks and the like are escaped. A heading that is too wide is cut in the middle.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    stream = io.BytesIO()
    with _any_characters():
        _fit_headings(figure)
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


@contextlib.contextmanager
def _any_characters() -> Iterator[None]:
    """Silences matplotlib's warnings about characters that the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def _fit_headings(figure: Figure) -> None:
    headings = [*figure.texts, *(axis.title for axis in figure.axes)]
    for heading in headings:
        heading.set_text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in heading.get_text()))
    if figure.get_layout_engine() and any(len(heading.get_text()) > LONG for heading in headings):
        figure.draw_without_rendering()  # places the axes, and the titles above them
    for heading in headings:
        extent = heading.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        outside = max(-extent.x0, extent.x1 - figure.bbox.width, 0)
        sides = 2 if heading.get_horizontalalignment() == "center" else 1
        shorten(heading, (extent.width - sides * outside) / figure.dpi)


def shorten(text: Text, width: float, end: float = 0.5) -> None:
    """Cuts a text until it is at most `width` inches wide, in the middle; with `end`, from 0 to 1, elsewhere."""
    text.set_parse_math(False)
    whole = text.get_text()
    kept = len(whole)
    renderer = FigureCanvasAgg(text.get_figure(root=True)).get_renderer()
    with _any_characters():
        while kept and (inches := text.get_window_extent(renderer).width / text.figure.dpi) > width:
            kept = min(kept - 1, int(kept * width / inches))
            tail = round(kept * end)
            text.set_text(f"{whole[: kept - tail]}…{whole[len(whole) - tail :]}")


def shortened(name: str, longest: int = NAME) -> str:
    """Cuts a name of a class in the middle, if it is longer than so many characters."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-(longest // 2) :]}"


def _inches(names: Sequence[str]) -> float:
    """Returns the width of the widest of these names, as labels of an axis."""
    figure = Figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    with _any_characters():
        texts = (figure.text(0, 0, name, parse_math=False) for name in names)
        return max(text.get_window_extent(renderer).width for text in texts) / figure.dpi


def image_sheet(
    images: np.ndarray, titles: Sequence[str], heading: str, photo: bool = False, columns: int = 5
) -> Figure:
    """Draws a grid of images (n, height, width[, channels]), each below its title of up to two lines.

    Photos are shown as they are, with 1 or 255 as the lightest; others as ink on paper, the strongest black.
    """
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    height, width, *channels = images.shape[1:]
    rows = max(1, -(-len(images) // columns))
    pitch_y, pitch_x = round(1.45 * height), round(1.2 * width)
    # one picture is far faster than one axes per image
    paper = np.full((rows * pitch_y, columns * pitch_x, *channels), float(photo))
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows + 0.5))
    axis = figure.add_axes((0, 0, 1, 1 - 0.5 / figure.get_figheight()), frameon=False, xticks=[], yticks=[])
    figure.suptitle(heading, y=1 - 0.12 / figure.get_figheight(), va="top")
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        top, left = place // columns * pitch_y + pitch_y - height, place % columns * pitch_x + (pitch_x - width) // 2
        strongest = (255 if images.dtype == np.uint8 else 1) if photo else max(image.max(), 1e-9)
        paper[top : top + height, left : left + width] = image / strongest
        axis.text(left + width / 2, top - 0.5, title, ha="center", va="bottom", fontsize=9)
    if not len(images):
        axis.text(pitch_x / 2, pitch_y / 2, "none", fontsize=12)
    colours = "gray" if photo else "gray_r"
    axis.imshow(paper.clip(0, 1), cmap=colours, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    return figure


def confusion_matrix(counts: pd.DataFrame, shares: pd.DataFrame, heading: str) -> Figure:
    """Draws two matrices (classes, classes) side by side: images, and their shares of the row's label, NaN for none.

    Colour shows the share of the label's images, on a scale that ends a little above the largest error, so that errors
    stand out beside a diagonal near 100 %.
    """
    wrong = shares.where(~np.eye(len(shares), dtype=bool)).max().max()
    side = max(5.2, 0.52 * len(counts))
    names = [shortened(str(name)) for name in counts.index]
    more = max(0, _inches(names) - NUMBER)  # that names take beside numbers
    width, height = 2 * (side + more), side + more
    figure = Figure(figsize=(width, height))
    figure.suptitle(heading, y=1 - 0.08 / height, va="top")
    edges = {"left": (0.54 + more) / width, "right": 1 - 0.1 / width, "bottom": (0.5 + more) / height}
    figure.subplots_adjust(**edges, top=1 - 0.55 / height, wspace=0.12 + more / side)
    panels = (("images", counts, "{:,.0f}"), ("% of the label's images", 100 * shares, "{:.1f}"))
    for axis, (title, cells, form) in zip(figure.subplots(1, 2), panels, strict=True):
        axis.imshow(shares, cmap="Oranges", vmin=0, vmax=max(wrong, 1e-9) * 1.6)
        axis.set(title=title, xlabel="prediction", ylabel="label")
        axis.set_xticks(range(len(counts)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axis.set_yticks(range(len(counts)), names)
        for (row, column), value in np.ndenumerate(cells.to_numpy()):
            if value > 0:  # neither 0 nor NaN
                colour = "white" if row == column and shares.iat[row, column] > wrong else "black"
                axis.text(column, row, form.format(value), ha="center", va="center", fontsize=8, color=colour)
    return figure
