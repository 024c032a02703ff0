"""`make review`: what a reviewer reads of a change, from git alone."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from .conftest import Project
from .reviews import pages, predictions, review


def rows(markdown: str) -> dict[str, list[str]]:
    """The cells of the table that the Markdown opens with, by their first."""
    lines = markdown.partition('<div class="cards">')[2].partition("</div>")[0].split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return {row[0]: row[1:] for row in cells}


@pytest.fixture(scope="module")
def reviewed(changed: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A fresh clone of the changed project, without cache, remote or data; and what a review of it printed."""
    clone = changed.git_clone(tmp_path_factory.mktemp("reviewed") / "clone")
    return clone, review(clone, "HEAD~1", "HEAD")


def test_a_fresh_clone_shows_the_change_from_git_alone(reviewed: tuple[Project, str]) -> None:
    project, printed = reviewed
    before, after = (predictions(project, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    counts = [str((new.right & ~old.right).sum()) for old, new in ((before, after), (after, before))]
    accuracies = [f"{100 * side.accuracy:.2f} %" for side in (before, after)]
    assert f"mlp_256: {accuracies[0]} → {accuracies[1]}, fixed {counts[0]}, broke {counts[1]}, " in printed
    new = f"{100 * predictions(project, 'HEAD', 'softmax').accuracy:.2f} %"
    removed = f"{100 * predictions(project, 'HEAD~1', 'cnn').accuracy:.2f} %"
    assert f"softmax: {new}, new\n" in printed
    assert f"cnn: removed, it had {removed}\n" in printed

    markdown, html = pages(project)
    table = rows(markdown)
    assert table["architecture"] == ["now", "base", "difference, points", "fixed", "broke", "p", "verdict"]
    now, base, difference, *shown_counts = table["mlp_256"][:5]
    assert (now.partition("<br>")[0], base.partition("<br>")[0]) == (accuracies[1], accuracies[0])
    assert float(difference) == round(100 * (after.accuracy - before.accuracy), 2)
    assert shown_counts == counts
    assert re.fullmatch(r"<sub>\[\d+\.\d\d, \d+\.\d\d\], one seed</sub>", now.partition("<br>")[2])
    assert (table["softmax"][0].partition("<br>")[0], table["softmax"][-1]) == (new, "new")
    assert (table["cnn"][1].partition("<br>")[0], table["cnn"][-1]) == (removed, "removed")
    assert f'<td style="text-align:right" data-label="fixed">{counts[0]}</td>' in html
    for page in (markdown, html):
        assert "+ Dropout: {rate: 0.5}" in page
        assert page.count("mlp_256: compares two trained models, not two recipes") == 1
        assert "dvc.lock matches params, code and results" in page
    for line in (
        "architectures.mlp_256.fit.epochs | 2 | 1",
        "train@mlp_256 | architectures.mlp_256",
        "train@softmax | added",
        "train@cnn | removed",
    ):
        assert f"| {line} |" in markdown
    assert re.search(r"\| mlp_256 \| gap \| \S+ \| \S+ \| [+-]\S+ \|", markdown)
    assert not (project.path / "data/prepared").exists()


def test_the_page_stands_alone_and_shows_the_digits_that_changed(reviewed: tuple[Project, str], changed) -> None:
    _, html = pages(reviewed[0])
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\((?!data:)', html)
    before, after = (predictions(changed, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    images = np.load(changed.path / "data/prepared/test/images.npy")
    (png,) = re.findall(r"background-image: url\(data:image/png;base64,([^)]+)\)", html)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    places = re.findall(r'aria-label="test image (\d+), label \d" style="background-position: (\S+)px (\S+)px"', html)
    assert {int(index) for index, *_ in places} == set(np.flatnonzero(before.right[0] != after.right[0]))
    for index, x, y in places:
        left, top = -int(x) // 8, -int(y) // 8  # each pixel is shown as 8 x 8
        shown = sheet[top : top + 8, left : left + 8]
        assert np.array_equal(255 - shown, np.round(255 * images[int(index), ..., 0]))
    some = next(iter(np.flatnonzero(before.right[0] & ~after.right[0])))
    old, new = before.prediction[0, some], after.prediction[0, some]
    assert f'label {after.label[some]}</div><div class="cut">{old} → {new}</div>' in html
    assert 'alt="Accuracy and loss of mlp_256 over the epochs, in base and now"' in html


def test_the_workspace_is_compared_as_it_stands(reviewer: Project) -> None:
    assert review(reviewer, "HEAD").splitlines()[0] == "same predictions as in base: mlp_256, softmax"
    reviewer.edit_json("metrics/predictions/softmax.json", lambda file: file.update(prediction=[file["label"]]))
    reviewer.edit(lambda params: params["overview"].update(confidence=0.5))
    assert re.search(
        r"softmax: \S+ % → 100.00 %, fixed \d+, broke 0, evidence of a change for the better\n"
        r"same predictions as in base: mlp_256\n",
        review(reviewer, "HEAD"),
    )
    markdown, html = pages(reviewer)
    assert list(rows(markdown)) == ["architecture", "---", "softmax"]
    for page in (markdown, html):
        assert "Same predictions as in base: mlp_256." in page
        assert "its 95% interval" in page, "the base's, not what the change sets"
