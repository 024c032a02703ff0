"""None or one of something (images, seeds, errors): no figure is made up, no NaN is written, no warning is shown."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from stages.data.archive import ArrayDescription, Description
from stages.report import report
from stages.results.predictions import Predictions
from stages.support.params import Overview, Report
from tools.common import results
from tools.common.changes import SAME, Change, Comparison, changes
from tools.common.revision import Revision
from tools.common.statistics import difference
from tools.overview.drawing import OverviewPage
from tools.overview.readme import results_table
from tools.review.content import Review
from tools.review.page import html, markdown

from .reviews import of_models, write_results

pytestmark = pytest.mark.filterwarnings("error")

# labels, the predictions of each seed, and a sentence of the overview
CASES = {
    "an empty class": ([0, 0, 1], [[0, 1, 1], [0, 0, 0]], "Best class: 0 (75.0% found). Worst class: 1 (50"),
    "a class that is never predicted": ([0, 1, 2], [[0, 1, 1]], "1 of 3 images wrong."),
    "no errors": ([0, 1, 2], [[0, 1, 2], [0, 1, 2]], "Test accuracy 100.00%"),
    "one error": ([0, 1, 2], [[0, 1, 2], [0, 1, 1]], "Most confused: 2 read as 1 (1 time)."),
    "no image right": ([0, 1], [[1, 0], [2, 0]], ""),
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net(case: str) -> Predictions:
    """The predictions of a case."""
    label, predictions = map(np.array, CASES[case][:2])
    return of_models(label, predictions, np.full(len(label), 0.9), classes=3)


def written(predictions: Predictions, folder: Path) -> Revision:
    """A folder with all that evaluate and report write."""
    images = np.zeros((len(predictions.label), 8, 8, 1), np.float32)
    report(predictions, images, False, Report(confused_pairs=5, worst_errors=10, kept_errors=25), folder / "plots")
    return write_results(folder, predictions)


def overview(predictions: Predictions) -> OverviewPage:
    written(predictions, Path())
    counts = {"x_train": 9, "x_test": len(predictions.label)}
    arrays = {name: ArrayDescription([count, 8, 8], "uint8", "") for name, count in counts.items()}
    section = Overview(confidence=0.95, published={"dataset": "tiny digits", "accuracy": {"net": 0.9}})
    page = OverviewPage(Description(predictions.dataset, [], "", 3, arrays), [predictions], [], section, 5)
    page.draw()
    return page


def text_of(page: str) -> str:
    """What a page shows, without tags, pictures and code, but with the data of its script."""
    body = re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def is_clean(text: str) -> bool:
    return not re.search(r"\b(nan|inf|none|null)\b", text, re.IGNORECASE)


@pytest.mark.parametrize("case", CASES)
def test_report_and_overview_write_no_nan(case: str) -> None:
    page = overview(net(case))
    text, sentence = text_of(page.page("")), CASES[case][2]
    assert is_clean(text)
    assert sentence in text
    assert sentence or "class:" not in text, "no class is best or worst where none is better"
    assert ("Most confused:" in text) == (not net(case).right.all())
    files = [path for path in Path().rglob("*") if path.suffix in (".csv", ".json")]
    assert len(files) >= 10
    for path in files:
        assert is_clean(path.read_text()), path.name
    assert is_clean(results_table(page.tables[results.COMPARISON]))


def test_a_class_without_test_images_has_no_recall_and_the_name_of_the_data_set_is_escaped() -> None:
    page = overview(replace(net("an empty class"), dataset="<script>")).page("")
    assert "<h1>&lt;script&gt;: 1 architecture compared</h1>" in page
    assert "<script>" not in page.partition("</main>")[0]
    text = text_of(page)
    assert "class images errors recall precision 0 4 1 75.0% 75.0% 1 2 1 50.0% 50.0% 2 0 0 – –" in text
    for name, row in ("classes", "2,0,0,,"), ("confusion_normalised", "2,,,"):
        assert Path(f"plots/tables/net/{name}.csv").read_text().splitlines()[-1] == row


def compared(base: Predictions, head: Predictions) -> Comparison:
    are_same = np.array_equal(base.prediction, head.prediction)
    return Comparison("net", base, head, difference=None if are_same else difference(base.right, head.right))


def reviewed(item: Comparison) -> tuple[str, str]:
    """What a review's Markdown and page show of a change, and of a new architecture with the same predictions."""
    side = Revision("here", None, Path.cwd())
    architectures = [item, Change("other", None, item.head, "new")]
    review = Review(side, side, 0.95, architectures)
    return markdown(review, None), text_of(html(review))


@pytest.mark.parametrize(
    ("case", "other"),
    [
        ("a class that is never predicted", "no errors"),
        ("no errors", "one error"),
        ("no image right", "no image right"),
    ],
)
def test_a_review_shows_no_nan(case: str, other: str, tmp_path: Path) -> None:
    for page in reviewed(compared(net(case), net(other))):
        assert not re.search(r"\bnan\b|\binf\b", page, re.IGNORECASE)
    (read,) = changes(written(net(case), tmp_path / "base"), written(net(other), tmp_path / "head"))
    assert read.verdict(0.95) == SAME or case == other


def test_a_review_of_a_class_without_images_says_so() -> None:
    base, head = (of_models(np.array([0, 0, 2]), np.array(row), np.ones(3)) for row in ([0, 0, 2], [0, 1, 2]))
    text, page = reviewed(compared(base, head))
    assert "| 1 | 0 | 0 | 0 | 0 | – | – → 0.0 |" in text, "it is predicted once, and never was before"
    assert "| 2 | 1 | 0 | 0 | 0 | 100.0 | 100.0 |" in text
    assert "1 0 0 0 0 – – → 0.0" in page
