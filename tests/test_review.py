"""`make review`: what a reviewer is told of a change, from git alone."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tools.common.changes import Change
from tools.common.predictions import Predictions

from .reviews import pages, predictions, review


def told(before: list[int], after: list[int], p: float, several: int) -> str:
    """The headline for predictions of images whose label is 0."""
    label, probability = np.zeros(100, int), np.ones(100)
    sides = [Predictions(label, np.array(prediction), probability) for prediction in (before, after)]
    return Change("cnn", *sides, p=p, several=several).headline(0.95)


def wrong(count: int) -> list[int]:
    return [1] * count + [0] * (100 - count)


@pytest.mark.parametrize(
    ("before", "p", "several", "expected"),
    [
        (wrong(3), 0.25, 1, "base 97.00 % · fixed 1, broke 0 · p = 0.25: no evidence of a change (one seed)"),
        (wrong(9), 0.015625, 1, "base 91.00 % · fixed 7, broke 0 · p = 0.016: evidence of a change for the better"),
        (wrong(0), 0.2, 2, "fixed 0, broke 2 · p = 0.2 (Holm over 2): no evidence"),
        (wrong(0), 0.0004, 2, "fixed 0, broke 2 · p < 0.001 (Holm over 2): evidence of a change for the worse"),
    ],
)
def test_a_headline_says_what_a_person_would_say(before: list[int], p: float, several: int, expected: str) -> None:
    headline = told(before, wrong(2), p=p, several=several)
    assert headline.startswith("cnn: 98.00 % [93.00, 99.45] · base ")
    assert expected in headline


def test_a_fresh_clone_tells_the_change_from_git_alone(reviewer) -> None:
    printed = review(reviewer, "HEAD~1", "HEAD")
    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    fixed, broke = (after.right & ~before.right).sum(), (before.right & ~after.right).sum()
    assert f"base {100 * before.accuracy:.2f} % · fixed {fixed}, broke {broke} · p " in printed
    assert f"softmax: {100 * predictions(reviewer, 'HEAD', 'softmax').accuracy:.2f} % [" in printed
    assert f"cnn: removed; it had {100 * predictions(reviewer, 'HEAD~1', 'cnn').accuracy:.2f} %" in printed

    markdown, html = pages(reviewer)
    for page in (markdown, html):
        assert "+ Dropout: {rate: 0.5}" in page
        assert "two trained models, not two recipes" in page
        assert "dvc.lock matches params, code and results" in page
    assert "| architectures.mlp_256.fit.epochs | 2 | 1 |" in markdown
    assert "| train@mlp_256 | architectures.mlp_256 |" in markdown
    assert "| train@softmax | added |" in markdown
    assert "| train@cnn | removed |" in markdown
    assert re.search(r"\| mlp_256 \| train_validation_gap \| \S+ \| \S+ \| [+-]\S+ \|", markdown)
    assert not (reviewer.path / "data/prepared").exists()


def test_the_page_stands_alone_and_shows_the_digits_that_changed(reviewer, changed) -> None:
    review(reviewer, "HEAD~1", "HEAD")
    _, html = pages(reviewer)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)

    before, after = (predictions(reviewer, side, "mlp_256") for side in ("HEAD~1", "HEAD"))
    images = np.load(changed.path / "data/prepared/x_test.npy")
    shown = dict(re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="test image (\d+),', html))
    shown = {int(index): np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png, index in shown.items()}
    assert set(shown) == set(np.flatnonzero(before.right != after.right))
    for index, picture in shown.items():
        assert np.array_equal(255 - picture, np.round(255 * images[index, ..., 0]))
    some = next(iter(np.flatnonzero(before.right & ~after.right)))
    assert f"label {after.label[some]}<br>{before.prediction[some]} → {after.prediction[some]}<br>" in html
    assert 'alt="Accuracy and loss of mlp_256 over the epochs, in base and now"' in html


def test_no_change_is_told_as_none(reviewer) -> None:
    assert review(reviewer, "HEAD").splitlines()[0] == "same predictions as in base: mlp_256, softmax"


def test_the_workspace_is_compared_as_it_stands(reviewer) -> None:
    reviewer.edit_json("plots/predictions/softmax.json", lambda columns: columns.update(prediction=columns["label"]))
    printed = review(reviewer, "HEAD")
    assert "softmax: 100.00 % [" in printed
    assert "broke 0 · p < 0.001: evidence of a change for the better (one seed)" in printed
