"""What the review and the overview say of a few predictions, word for word."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from stages.common.files import write_json
from stages.results.predictions import Predictions
from tools.common.changes import Change, Comparison
from tools.common.revision import Revision
from tools.common.statistics import difference
from tools.review import page
from tools.review.content import Review, read_reproduced
from tools.review.differences import ValueChange

from .reviews import of_models
from .test_few import overview, text_of

LABEL = np.array([0, 0, 0, 0, 1, 1, 1, 2])


def net(prediction: list, probability: float, validation: float) -> Predictions:
    predictions = of_models(LABEL, np.array(prediction), np.full(8, probability), classes=3)
    return replace(predictions, history=[*predictions.history, (10, 1, "validation", "accuracy", validation)])


BASE, HEAD = net([0, 0, 1, 1, 1, 1, 2, 2], 0.75, 0.25), net([0, 0, 0, 1, 1, 2, 2, 1], 0.5, 0.125)
CHANGE = Comparison("net", BASE, HEAD, difference=difference(BASE.right, HEAD.right), several=1)


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """A review with something in each section."""
    layers = ["Flatten", "```"], ["Flatten", "```", {"Dropout": {"rate": 0.5}}]
    return Review(
        *(Revision(name, None, tmp_path) for name in ("there", "here")),
        0.9,
        [CHANGE, Change("gone", BASE, None, "removed"), Comparison("same", BASE, BASE)],
        params=[ValueChange("params.yaml", "a.b", 1, 2.5), ValueChange("params.yaml", "layers", *layers)],
        metrics=[ValueChange("metrics/net.json", "accuracy", 0.625, 0.5)],
        stages=[("train@net", "architectures.net")],
        stale=[f"reason {number}" for number in range(12)],
        base_stale=["of the base"],
        base_ahead=2,
        reproduced={"net": "differs"},
    )


REVIEWED = """\
| architecture | now | base | difference, points | fixed | broke | p | verdict | run again |
| net | 50.00 %<br><sub>[24.86, 75.14], one seed</sub> | 62.50 %<br><sub>[34.80, 83.88], one seed</sub> \
| -12.50 | 1 | 2 | 1 | no evidence of a change | **NOT reproduced** |
| gone | – | 62.50 %<br><sub>[34.80, 83.88], one seed</sub> | | | | | removed |  |
> - reason 9
> - net: NOT reproduced: differs
> - of the base
there has 2 commits that here lacks; they show here reversed. To leave them out, compare with git merge-base.
| a.b | 1 | 2.5 |
  Flatten
  '''
+ Dropout: {rate: 0.5}
| train@net | architectures.net |
| net | accuracy | 0.625 | 0.5 | -0.125 |
3 of 8 predictions differ.
Newly wrong, by label and new prediction: **1 as 2** 5; **2 as 1** 7.
Newly right, by label and old prediction: **0 as 1** 2.
| 0 | 4 | 2 → 1 | 1 | 0 | 50.0 → 75.0 | 100.0 |
| 1 | 3 | 1 → 2 | 0 | 1 | 66.7 → 33.3 | 50.0 → 33.3 |
| 2 | 1 | 0 → 1 | 0 | 1 | 100.0 → 0.0 | 50.0 → 0.0 |
| **0** | +1 | -1 |  |
| **1** |  | -1 | +1 |
| **2** |  | +1 | -1 |
Over-fitting gap, train minus validation accuracy after the last epoch: base +25.00, now +37.50 percentage points.
"""


def test_a_comment_has_the_figures_of_both_sides(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.markdown(review, None)
    assert text.startswith("### Review: here against there\n"), "smaller headings in a comment"
    lines = iter(text.splitlines())
    for line in REVIEWED.splitlines():
        assert line in lines, "in this order"
    assert "its 90% interval" in text
    assert "reason 10" not in text, "the page has the others"
    monkeypatch.setattr(page, "MAX_COMMENT", 500)
    cut = page.markdown(review, None)
    assert cut == text[:500].rpartition("\n")[0] + "\n\n… cut: too long for a comment. The HTML page has all of it.\n"


def test_lines_and_gates_of_a_review(review: Review, tmp_path: Path) -> None:
    assert review.summaries == [
        f"{CHANGE.summary(0.9)}, NOT reproduced",
        "gone: removed, it had 62.50 %",
        "same predictions as in base: same",
    ]
    stale = [f"dvc.lock does not match: reason {number}" for number in range(12)]
    assert review.warnings == [*stale, "net: NOT reproduced: differs"]
    assert (review.failures(["regression"]), review.failures([])) == ([], [])
    assert review.failures(["stale"]) == ["dvc.lock does not match params, code or results in here"]
    worse = replace(CHANGE, difference=replace(CHANGE.difference, p=0.01))
    broken = Change("odd", None, None, "not compared: x", broken=True)
    other = replace(review, architectures=[worse, broken], stale=[], stale_tables=["a.csv"], reproduced={"net": ""})
    assert other.summaries == [f"{worse.summary(0.9)}, reproduced", "odd: not compared: x"]
    assert other.warnings == ["a.csv"]
    assert other.failures(["regression"]) == ["significantly worse: net", "predictions that cannot be read: odd"]
    assert other.failures(["stale"]) == ["a.csv (in here)"]

    write_json(path := tmp_path / "reproduced.json", {"commit": "f" * 40, "results": {"net": "differs"}})
    commit = SimpleNamespace(commit="f" * 40)
    assert read_reproduced(commit, path) == {"net": "differs"}
    assert read_reproduced(commit, tmp_path / "nowhere.json") == read_reproduced(review.head, path) == {}


def test_a_page_colours_what_is_better_and_worse(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_DRAWN", 1)
    text = page.html(review).partition("<script")[0]
    toned = {kind: re.findall(rf'<span class="{kind}">([^<]+)</span>', text) for kind in ("good", "bad")}
    assert toned == {
        "good": ["+ Dropout: {rate: 0.5}", "2 → 1", "50.0 → 75.0", "Better"],
        "bad": ["NOT reproduced", "1 → 2", "66.7 → 33.3", "50.0 → 33.3", "0 → 1", "100.0 → 0.0", "50.0 → 0.0", "Worse"],
    }
    cells = re.findall(r'<a href="#net/(\d)/(\d)" class="(\w+)" style="--share: ([\d.]+)" aria-label="([^"]+)"', text)
    assert [cell[:4] for cell in cells] == [
        *(("0", "0", "fewer", "1.00"), ("0", "1", "fewer", "1.00"), ("1", "1", "more", "1.00")),
        *(("1", "2", "more", "1.00"), ("2", "1", "more", "1.00"), ("2", "2", "more", "1.00")),
    ]
    assert cells[1][4] == "label 0 read as 1: -1 image"
    assert 'label 1</div><div class="cut">1 → 2</div><span class="soft">#5 · 50%</span>' in text
    assert "<p>The others, by label and new prediction: <strong>2 as 1</strong> 7.</p>" in text
    assert "reason 11" in text
    assert all(f"<li>no pictures of test images of {side}: " in text for side in ("there", "here"))
    row = re.findall(r'<td[^>]* data-label="([^"]+)">(?:<span[^>]*>)?([^<]+)', text.partition("Classes</h3>")[2])[:7]
    assert row == [("class", "0"), ("images", "4"), ("errors", "2 → 1"), ("fixed", "1"), ("broke", "0"),
                   ("recall, %", "50.0 → 75.0"), ("precision, %", "100.0")]  # fmt: skip


def test_curves_before_stand_beside_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple] = []
    monkeypatch.setattr(page.charts, "before_and_after", lambda *sides: drawn.append(sides))
    monkeypatch.setattr(page, "png", lambda _: b"")
    for change in CHANGE, Change("net", None, HEAD, "new"), Change("net", BASE, HEAD, "not compared"):
        assert page.inline_curves(change) == Markup("data:image/png;base64,")
    pd.testing.assert_frame_equal(drawn[0][0], BASE.curves)
    pd.testing.assert_frame_equal(drawn[0][1], HEAD.curves)
    assert [base for base, *_ in drawn[1:]] == [None, None]


OVERVIEW = """\
net 68.75% 36.13% – 100.00% 8.84% 2.5 0.5000 7 90.00%, inside
mean of 2 seeds: of 8 images, 2 are wrong in all seeds and 1 in some.
Best class: 2 (100.0% found). Worst class: 0 (62.5% found).
Most confused: 0 read as 1 (3 times).
class images errors recall precision 0 8 3 62.5% 100.0% 1 6 2 66.7% 57.1% 2 2 0 100.0% 50.0%
label read as times of the label 0 1 3 37.5% 1 2 2 33.3%
wrong in seeds probability 3 0 1 2 of 2 0.6250 6 1 2 2 of 2 0.6250 2 0 1 1 of 2 0.7500
"""


def test_the_overview_has_the_figures_of_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = np.array([[0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2]])
    shown = overview(of_models(LABEL, both, np.array([[0.75] * 8, [0.5] * 8]), classes=3)).page("")
    text = text_of(shown)
    for line in OVERVIEW.splitlines():
        assert line in text
    links = set(re.findall(r'href="#([^"/]+)"', shown))
    assert (links, set(re.findall(r'id="(.+?)"', shown))) == ({"net"}, {"net"})
    titles = {unescape(title) for title in re.findall(r' title="(label [^"]+)"', shown)}
    assert len(titles) == 5, "the cells that have images"
    assert titles >= {
        "label 0 read as 0: 5 times, 62.5% of the label",
        "label 1 read as 2: 2 times, 33.3% of the label",
    }
    shares = dict(re.findall(r'href="#net/(\d/\d)" class="more" style="--share: ([\d.]+)"', shown))
    assert shares == {"0/1": "1.00", "1/2": "0.89"}
