"""Results of which there is nothing or one: no figure is made up, no NaN is written, no warning is shown."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from optuna.trial import create_trial

from stages.data.archive import ArrayDescription, Description
from stages.report import report
from stages.results.predictions import Predictions
from stages.support.params import Overview, Report
from tools.common import results
from tools.common.changes import SAME, Change, Comparison, changes
from tools.common.revision import Revision
from tools.common.statistics import accuracy_interval, difference
from tools.digits import __main__ as digits
from tools.digits import lookups
from tools.overview.drawing import OverviewPage
from tools.overview.readme import results_table
from tools.review.content import Review
from tools.review.page import html, markdown
from tools.sweep.report import _counts

from .conftest import Project
from .reviews import of_models, write_results
from .test_pipeline import vega_svg

pytestmark = pytest.mark.filterwarnings("error")
CLASSES = 3
PUBLISHED = {"dataset": "tiny digits", "accuracy": {"net": 0.9}}

# labels, the predictions of each seed, and a sentence of the overview
CASES = {
    "a class without test images": (
        [0, 0, 1],
        [[0, 1, 1], [0, 0, 0]],
        "Best class: 0 (75.0% found). Worst class: 1 (50",
    ),
    "a class that is never predicted": ([0, 1, 2], [[0, 1, 1]], "1 of 3 images wrong."),
    "all images of one class": ([1, 1], [[1, 1], [1, 0]], ""),
    "one image that is right": ([2], [[2]], "0 of 1 image wrong."),
    "one image that is wrong": ([2], [[0], [1]], "of 1 image, 1 are wrong in all seeds and 0 in some."),
    "one image that some seeds get wrong": (
        [0],
        [[0], [1], [0]],
        "of 1 image, 0 are wrong in all seeds and 1 in some.",
    ),
    "no errors": ([0, 1, 2], [[0, 1, 2], [0, 1, 2]], ""),
    "one error": ([0, 1, 2], [[0, 1, 2], [0, 1, 1]], "Most confused: 2 read as 1 (1 time)."),
    "no image right": ([0, 1], [[1, 0], [2, 0]], ""),
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net(case: str) -> Predictions:
    """The predictions of a case."""
    label, predictions = map(np.array, CASES[case][:2])
    return of_models(label, predictions, np.full(len(label), 0.9), classes=CLASSES)


def description(images: int) -> Description:
    arrays = {
        name: ArrayDescription([count, 8, 8], "uint8", "") for name, count in (("x_train", 9), ("x_test", images))
    }
    return Description("tiny digits", [], "", CLASSES, arrays)


def written(predictions: Predictions, folder: Path) -> Revision:
    """A folder with all that evaluate and report write."""
    images = np.zeros((len(predictions.label), 8, 8, 1), np.float32)
    report(predictions, images, Report(confused_pairs=5, worst_errors=10, kept_errors=25), folder / "plots")
    return write_results(folder, predictions)


def overview(predictions: Predictions, folder: Path) -> OverviewPage:
    written(predictions, folder)
    section = Overview(confidence=0.95, published=PUBLISHED)
    shown = OverviewPage(description(len(predictions.label)), [predictions], [], section, 5)
    shown.draw()
    return shown


def shown_text(page: str) -> str:
    """What a page shows, without tags and pictures."""
    body = re.sub(r"(?s)<style>.*?</style>", "", page)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def is_clean(text: str) -> bool:
    return not re.search(r"\b(nan|inf|none|null)\b", text, re.IGNORECASE)


@pytest.mark.parametrize("case", CASES)
def test_report_and_overview_write_no_nan(case: str, tmp_path: Path) -> None:
    shown = overview(net(case), tmp_path)
    text = shown_text(shown.page(""))
    assert is_clean(text)
    sentence = CASES[case][2]
    assert sentence in text
    assert sentence or "class:" not in text, "no class is best or worst where none is better"
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".json")]
    assert len(files) >= 10
    for path in files:
        assert is_clean(path.read_text()), path.name
    assert is_clean(results_table(shown.tables[results.COMPARISON]))


def test_a_class_without_test_images_has_no_recall(tmp_path: Path) -> None:
    text = shown_text(overview(net("a class without test images"), tmp_path).page(""))
    assert "class images errors recall precision 0 4 1 75.0% 75.0% 1 2 1 50.0% 50.0% 2 0 0 – –" in text
    for name, row in ("classes", "2,0,0,,"), ("confusion_normalised", "2,,,"):
        assert (tmp_path / f"plots/tables/net/{name}.csv").read_text().splitlines()[-1] == row
    never_predicted = net("a class that is never predicted").class_figures.set_index("class").loc[2]
    assert never_predicted["recall"] == 0, "it has an image, which is wrong"
    assert np.isnan(never_predicted["precision"])


def test_one_image_on_which_seeds_differ_gives_no_interval(tmp_path: Path) -> None:
    shown = overview(net("one image that some seeds get wrong"), tmp_path)
    row = shown.tables[results.COMPARISON].iloc[0]
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["published_is"] == "", "there is no interval that it could be in"
    assert "net 66.67% – 57.7" in shown_text(shown.page("")), "the standard deviation stands next"
    assert "| `net` | 66.67% | – |" in results_table(shown.tables[results.COMPARISON])
    assert results_table(shown.tables[results.COMPARISON]).endswith("| 90.00% |\n")


def test_models_that_are_all_right_or_read_one_image_are_not_sure() -> None:
    for images in (1, 3):
        low, high = accuracy_interval(np.ones((3, images), bool), 0.95)
        assert (low, high) == accuracy_interval(np.ones((1, images), bool), 0.95)
        assert low < 0.5
        assert high == 1
    for seeds in ((1, 1), (1, 2), (3, 2)):
        shown = difference(np.ones((seeds[0], 1), bool), np.zeros((seeds[1], 1), bool))
        assert (shown.estimate, shown.p) == (-1, 1)


def change(case: str, other: str) -> Comparison:
    """A change between two cases with the same labels."""
    base, head = net(case), net(other)
    are_same = np.array_equal(base.prediction, head.prediction)
    return Comparison("net", base, head, difference=None if are_same else difference(base.right, head.right))


def reviewed(item: Comparison) -> tuple[str, str]:
    """What a review's Markdown and page show of a change, and of a new architecture with the same predictions."""
    side = Revision("here", None, Path.cwd())
    review = Review(side, side, 0.95, [item, Change("other", None, item.head, "new")])
    return markdown(review, None), shown_text(html(review))


PAIRS = [
    ("a class that is never predicted", "no errors"),
    ("no errors", "one error"),
    ("one image that is right", "one image that is wrong"),
    ("one image that is wrong", "one image that is wrong"),
]


@pytest.mark.parametrize(("case", "other"), PAIRS)
def test_a_review_shows_no_nan(case: str, other: str) -> None:
    for page in reviewed(change(case, other)):
        assert not re.search(r"\bnan\b|\binf\b", page, re.IGNORECASE)


def test_a_review_of_a_class_without_images_says_so() -> None:
    label, probability = np.array([0, 0, 2]), np.ones(3)
    base, head = (of_models(label, np.array(each), probability) for each in ([0, 0, 2], [0, 1, 2]))
    item = Comparison("net", base, head, difference=difference(base.right, head.right))
    text, page = reviewed(item)
    assert "| 1 | 0 | 0 | 0 | 0 | – | – → 0.0 |" in text, "it is predicted once, and never was before"
    assert "| 2 | 1 | 0 | 0 | 0 | 100.0 | 100.0 |" in text
    assert "1 0 0 0 0 – – → 0.0" in page


def test_one_image_is_no_evidence_and_has_no_margin() -> None:
    item = replace(change("one image that some seeds get wrong", "one image that some seeds get wrong"))
    head = of_models(np.array([0]), np.array([[1], [1], [1]]), np.ones(1))
    item = Comparison("net", item.base, head, difference=difference(item.base.right, head.right))
    assert item.summary(0.95) == f"net: 66.67 % → 0.00 %, -66.67 points (3 seeds), {SAME}"
    assert "66.67 %<br><sub>no interval, 3 seeds</sub>" in reviewed(item)[0]


def test_changes_of_one_image_are_read_from_files(tmp_path: Path) -> None:
    sides = [
        written(net(case), tmp_path / name)
        for name, case in (("base", "one image that is right"), ("head", "one image that is wrong"))
    ]
    (only,) = changes(*sides)
    assert only.verdict(0.95) == SAME


def test_digits_are_looked_up_among_none_or_one(capsys: pytest.CaptureFixture) -> None:
    for case, printed in ("no errors", "no errors\n"), ("one error", "1 error\n"), ("no image right", "2 errors\n"):
        models = {"net": net(case), "perfect": of_models(net(case).label, net(case).label, np.ones(1))}
        errors = lookups.errors(models)
        assert lookups.select(errors, 0, 0, 0, 1).empty
        assert len(lookups.titles(errors, ())) == len(errors)
        assert lookups.common(models, len(net(case).seeds) + 1).empty, "one of the models is perfect"
        digits.print_first(errors, 25, "error")
        assert capsys.readouterr().out.splitlines(keepends=True)[-1] == printed


def test_a_search_of_one_trial_says_so() -> None:
    trials = [create_trial(value=0.5), create_trial(value=0.6)]
    assert _counts(trials[:1]) == "1 trial: 1 complete, 0 ended early."
    assert _counts(trials) == "2 trials: 2 complete, 0 ended early."


def test_dvc_draws_no_interval_where_there_is_none(project: Project) -> None:
    path = project.path / "plots/comparison.csv"
    table = pd.read_csv(path)
    table.assign(low=np.nan, high=np.nan).to_csv(path, index=False)
    project.commit("no intervals")
    drawn = re.findall(r'aria-label="accuracy: ([^;]+);', vega_svg(project, "plots/comparison.csv"))
    assert len(drawn) == 2 * len(table), "a point for each architecture on each side"
    assert "0.0%" not in drawn
