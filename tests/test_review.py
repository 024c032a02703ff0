"""`make review`: what a reviewer is told of a change, from git alone."""

import base64
import io
import itertools
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from PIL import Image

from tools.common.changes import Change
from tools.common.statistics import difference

from .reviews import of_models, pages, predictions, review


def change(before: list[int], after: list[int], p: float = 1.0, several: int = 1) -> Change:
    """A change of predictions for images whose label is 0."""
    label, probability = np.zeros(100, int), np.ones(100)
    base, head = (of_models(label, np.array(prediction), probability) for prediction in (before, after))
    found = None if before == after else replace(difference(base.right, head.right), p=p)
    return Change("cnn", base, head, difference=found, several=several)


def wrong(count: int) -> list[int]:
    return [1] * count + [0] * (100 - count)


@pytest.mark.parametrize(
    ("before", "p", "expected"),
    [
        (wrong(3), 0.25, "97.00 % → 98.00 %, fixed 1, broke 0, no evidence of a change"),
        (wrong(9), 0.015625, "91.00 % → 98.00 %, fixed 7, broke 0, evidence of a change for the better"),
        (wrong(0), 0.2, "100.00 % → 98.00 %, fixed 0, broke 2, no evidence of a change"),
        (wrong(0), 0.0004, "100.00 % → 98.00 %, fixed 0, broke 2, evidence of a change for the worse"),
        (wrong(2), 1.0, "98.00 %, same predictions"),
        ([2, 2] + [0] * 98, 1.0, "98.00 % → 98.00 %, fixed 0, broke 0, no evidence of a change"),
    ],
)
def test_a_change_is_summed_up_in_a_line(before: list[int], p: float, expected: str) -> None:
    assert change(before, wrong(2), p).summary(0.95) == f"cnn: {expected}"


def test_other_probabilities_of_the_same_predictions_are_told() -> None:
    one = change(wrong(2), wrong(2))
    other = replace(one, head=replace(one.head, probability=one.head.probability / 2))
    assert other.changed
    assert other.summary(0.95) == "cnn: 98.00 %, same predictions, other probabilities"


@pytest.mark.parametrize(("p", "shown"), [(1.0, "1"), (0.2379, "0.24"), (0.0012, "0.0012"), (0.0004, "< 0.001")])
def test_p_is_shown_with_two_digits(p: float, shown: str) -> None:
    assert change(wrong(0), wrong(2), p).shown_p == shown


def test_each_class_has_its_recall_and_precision_on_both_sides() -> None:
    label, probability = np.array([0, 0, 1, 1]), np.ones(4)
    base, head = (of_models(label, np.array(found), probability) for found in ([0, 0, 1, 0], [0, 2, 1, 1]))
    rows = Change("cnn", base, head).classes().set_index("class").to_dict("index")
    assert rows[0] == {
        "images": 2,
        "errors_base": 0,
        "recall_base": 1.0,
        "precision_base": pytest.approx(2 / 3, abs=1e-6),
        "errors_head": 1,
        "recall_head": 0.5,
        "precision_head": 1.0,
        "fixed": 0,
        "broke": 1,
    }
    assert (rows[1]["fixed"], rows[1]["recall_base"], rows[1]["recall_head"]) == (1, 0.5, 1.0)
    assert (rows[2]["images"], rows[2]["precision_head"]) == (0, 0.0)
    assert np.isnan([rows[2]["recall_base"], rows[2]["recall_head"], rows[2]["precision_base"]]).all(), "0 of 0"


def rows(markdown: str) -> dict[str, list[str]]:
    """The cells of the table that the Markdown opens with, by their first."""
    lines = itertools.takewhile(lambda line: line.startswith("|"), markdown.splitlines()[2:])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return {row[0]: row[1:] for row in cells}


def cell(html: str, name: str, label: str) -> str:
    """What the page's first table has of an architecture."""
    row = next(row for row in html.split("<tr>") if f">{name}</a></td>" in row)
    return unescape(re.search(rf'<td data-label="{label}"[^>]*>(.*?)</td>', row)[1])


def test_a_fresh_clone_tells_the_change_from_git_alone(reviewer) -> None:
    printed = review(reviewer, "HEAD~1", "HEAD")
    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    fixed, broke = (after.right & ~before.right).sum(), (before.right & ~after.right).sum()
    accuracies = [f"{100 * side.accuracy:.2f} %" for side in (before, after)]
    assert f"mlp_256: {accuracies[0]} → {accuracies[1]}, fixed {fixed}, broke {broke}, " in printed
    new = f"{100 * predictions(reviewer, 'HEAD', 'softmax').accuracy:.2f} %"
    removed = f"{100 * predictions(reviewer, 'HEAD~1', 'cnn').accuracy:.2f} %"
    assert f"softmax: {new}, new\n" in printed
    assert f"cnn: removed, it had {removed}\n" in printed

    markdown, html = pages(reviewer)
    table = rows(markdown)
    assert table["architecture"] == ["now", "base", "difference, points", "fixed", "broke", "p", "verdict"]
    now, base, difference, *counts = table["mlp_256"][:5]
    assert (now.partition("<br>")[0], base.partition("<br>")[0]) == (accuracies[1], accuracies[0])
    assert float(difference) == round(100 * (after.accuracy - before.accuracy), 2)
    assert counts == [str(fixed), str(broke)]
    assert re.fullmatch(r"<sub>\[\d+\.\d\d, \d+\.\d\d\], one seed</sub>", now.partition("<br>")[2])
    assert (table["softmax"][0].partition("<br>")[0], table["softmax"][-1]) == (new, "new")
    assert (table["cnn"][1].partition("<br>")[0], table["cnn"][-1]) == (removed, "removed")
    assert [cell(html, "mlp_256", label) for label in ("fixed", "broke", "p")] == [*counts, table["mlp_256"][5]]
    for page in (markdown, html):
        assert "+ Dropout: {rate: 0.5}" in page
        assert page.count("mlp_256: compares two trained models, not two recipes") == 1
        assert "dvc.lock matches params, code and results" in page
    assert "| architectures.mlp_256.fit.epochs | 2 | 1 |" in markdown
    assert "| train@mlp_256 | architectures.mlp_256 |" in markdown
    assert "| train@softmax | added |" in markdown
    assert "| train@cnn | removed |" in markdown
    assert re.search(r"\| mlp_256 \| gap \| \S+ \| \S+ \| [+-]\S+ \|", markdown)
    assert not (reviewer.path / "data/prepared").exists()


def test_the_page_stands_alone_and_shows_the_digits_that_changed(reviewer, changed) -> None:
    review(reviewer, "HEAD~1", "HEAD")
    _, html = pages(reviewer)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)

    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    images = np.load(changed.path / "data/prepared/test/images.npy")
    shown = dict(re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="test image (\d+),', html))
    shown = {int(index): np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png, index in shown.items()}
    assert set(shown) == set(np.flatnonzero(before.right[0] != after.right[0]))
    for index, picture in shown.items():
        assert np.array_equal(255 - picture, np.round(255 * images[index, ..., 0]))
    some = next(iter(np.flatnonzero(before.right[0] & ~after.right[0])))
    old, new = before.prediction[0, some], after.prediction[0, some]
    assert f"label {after.label[some]}<br>{old} → {new}<br>" in html
    assert 'alt="Accuracy and loss of mlp_256 over the epochs, in base and now"' in html


def test_no_change_is_told_as_none(reviewer) -> None:
    assert review(reviewer, "HEAD").splitlines()[0] == "same predictions as in base: mlp_256, softmax"


def test_the_workspace_is_compared_as_it_stands(reviewer) -> None:
    reviewer.edit_json("metrics/predictions/softmax.json", lambda file: file.update(prediction=[file["label"]]))
    printed = review(reviewer, "HEAD")
    assert re.search(
        r"softmax: \S+ % → 100.00 %, fixed \d+, broke 0, evidence of a change for the better\n"
        r"same predictions as in base: mlp_256\n",
        printed,
    )
    markdown, html = pages(reviewer)
    assert list(rows(markdown)) == ["architecture", "---", "softmax"]
    for page in (markdown, html):
        assert "Same predictions as in base: mlp_256." in page
