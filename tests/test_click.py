"""The pages answer by clicks, keys and addresses: the images behind a confusion matrix, in a real browser."""

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from stages.common.files import write_json
from stages.report import write_errors
from stages.results.predictions import Predictions
from stages.support.errors import printable
from stages.support.params import Overview
from tools.common import results
from tools.common.changes import Comparison
from tools.common.comparison import read_description
from tools.common.revision import WORKSPACE
from tools.overview.drawing import OverviewPage

from .browser import SIZES, figures, opened, show_all
from .browser import chromium as chromium
from .browser import screenshots as screenshots
from .conftest import Project
from .reviews import of_models, predictions, write_results

pytestmark = pytest.mark.browser

RAW = ("cat", '<b class="x">dog</b>', "\"' onclick='x'", "a|b\n\n*c*", "x" * 200, "</script>", "鳥")
NAMES = tuple(map(printable, RAW))
KEPT, SCREENFUL = 150, 24
LABEL = np.random.default_rng(0).integers(0, 7, 300)


def of_seeds(name: str, seeds: list[int]) -> Predictions:
    """Predictions of four seeds for 300 images, of which about a half are wrong."""
    random = [np.random.default_rng(seed) for seed in seeds]
    wrong = [np.where(one.random(300) < 0.5, one.integers(0, 7, 300), LABEL) for one in random]
    probability = np.stack([one.random(300) for one in random]).round(6)
    return replace(of_models(LABEL, np.stack(wrong), probability, name, classes=7), class_names=RAW)


FIRST, SECOND = of_seeds("cnn", [1, 2, 3, 4]), of_seeds("vs", [5, 6, 7, 8])


def colour(index: int) -> tuple[int, int, int]:
    """The colour of all pixels of a test image."""
    return 10 + index % 16 * 15, 10 + index // 16 * 12, 200


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two architectures on colour images of seven classes with odd names, in a folder of its own."""
    folder = tmp_path_factory.mktemp("report")
    images = np.array([np.full((8, 6, 3), colour(index)) / 255 for index in range(300)])
    entries = {}
    with contextlib.chdir(folder):
        side = write_results(Path(), FIRST, SECOND)
        description = side.read_json(results.DESCRIPTION)
        for name in ("x_train", "x_test"):
            description["arrays"][name]["shape"][1:] = [8, 6, 3]
        write_json(results.DESCRIPTION, description | {"class_names": RAW, "photo": True})
        for item in (FIRST, SECOND):
            write_errors(item, images, KEPT, results.errors(item.name))
            deps, outs = (
                [{"path": str(path), "md5": WORKSPACE.digest(str(path))}]
                for path in (results.predictions(item.name), results.errors(item.name))
            )
            entries[f"report@{item.name}"] = {"cmd": "", "deps": deps, "outs": outs}
        write_json(Path("dvc.lock"), {"stages": entries})
        published = {"dataset": "tiny digits", "accuracy": {"cnn": 0.123, "vs": 0.5}}
        settings = Overview(confidence=0.95, published=published)
        overview = OverviewPage(read_description(WORKSPACE), [FIRST, SECOND], [], settings, 5)
        overview.draw()
        Path("plots/report.html").write_text(overview.page(""))
    return folder / "plots/report.html"


def readings(item: Predictions, label: int | None, prediction: int | None) -> dict[tuple[int, int], int]:
    """For each image and wrong prediction of a cell, a row or a column: how many seeds give it."""
    counts: dict[tuple[int, int], int] = {}
    for row in item.prediction:
        for index in np.flatnonzero(row != item.label):
            if label in (None, item.label[index]) and prediction in (None, row[index]):
                counts[index, row[index]] = counts.get((index, row[index]), 0) + 1
    return counts


def check(page: Page, item: Predictions, label: int | None, prediction: int | None) -> None:
    """The images of a cell, a row or a column are shown, a screenful at a time, most confident first."""
    expected = readings(item, label, prediction)
    parts = [] if label is None else [f"label {NAMES[label]}"]
    parts += [] if prediction is None else [f"read as {NAMES[prediction]}"]
    images, times = len({index for index, _ in expected}), sum(expected.values())
    heading = f"{item.name}, {' '.join(parts)}: {images} images, {times} times in 4 seeds. The most confident first."
    page.get_by_role("status").get_by_text(heading, exact=True).wait_for()
    assert len(figures(page)) == min(SCREENFUL, len(expected)) > 0
    if (left := len(expected) - SCREENFUL) > 0:
        text = f"show {f'{SCREENFUL} of {left}' if left > SCREENFUL else left} more"
        assert page.locator(".view button").inner_text() == text
    show_all(page)
    shown = figures(page)
    wrong = (item.prediction != item.label).sum(axis=0)
    notes = {
        (index, f"{NAMES[item.label[index]]} read as {NAMES[read]}"): f"{given} of 4 seeds"
        + (f", wrong in {wrong[index]}" if wrong[index] > given else "")
        for (index, read), given in expected.items()
    }
    assert {(index, text): note for index, text, _, note in shown} == notes
    assert len(shown) == len(expected)
    assert [share for *_, share, _ in shown] == sorted((share for *_, share, _ in shown), reverse=True)


def test_a_cell_a_label_and_a_prediction_show_their_images(report: Path, chromium, screenshots: Path) -> None:
    with opened(chromium, report, "laptop", screenshots) as page:
        assert page.locator(".view figure").count() == 0
        count = FIRST.confusion.iat[0, 1]
        page.get_by_label(f"label cat read as {NAMES[1]}: {count} times").first.click()
        assert page.url.endswith("#cnn/0/1")
        check(page, FIRST, 0, 1)
        assert sum(readings(FIRST, 0, 1).values()) == count
        assert page.locator("[aria-current]").inner_text() == str(count)

        page.locator("[href='#cnn//4']").focus()
        page.keyboard.press("Enter")
        page.get_by_text("cnn, read as xxx").wait_for()
        page.keyboard.press("Shift+Tab")
        assert page.locator(":focus").get_attribute("href") == "#cnn//3", "the next key moves from there"
        check(page, FIRST, None, 4)
        page.locator("[href='#vs/6/']").press("Enter")
        check(page, SECOND, 6, None)
        assert page.locator("[aria-current]").get_attribute("href") == "#vs/6/", "it alone is marked"

        page.go_back()
        check(page, FIRST, None, 4)
        page.get_by_text("close", exact=True).click()
        page.locator(".view figure").first.wait_for(state="detached")


GO = """
(address) => new Promise((resolve) => {
  addEventListener("hashchange", resolve, { once: true });
  location.hash = address;
}).then(() => null)
"""


@pytest.mark.parametrize("size", SIZES)
def test_an_address_opens_a_view_that_fits_the_screen(report: Path, chromium, screenshots: Path, size: str) -> None:
    with opened(chromium, report, size, screenshots, "#vs/4/2") as page:
        check(page, SECOND, 4, 2)
        assert page.locator(".view [role=status]:not(:empty)").bounding_box()["y"] >= 0
        for address in ("#cnn//", "#cnn/vs/vs"):
            page.evaluate(GO, address)
            assert page.locator(".view figure").count() > 10
            assert page.evaluate("document.scrollingElement.scrollWidth") == SIZES[size]["width"]
            hidden = "(boxes) => boxes.map((box) => box.scrollWidth - box.clientWidth)"
            assert page.locator(".cards .scroll, .matrix .scroll").evaluate_all(hidden) == [0, 0, 0], "cut off"


def test_pictures_are_those_of_their_images_and_others_are_counted(report: Path, chromium, screenshots: Path) -> None:
    kept = {int(index) for item in (FIRST, SECOND) for index in item.errors["index"][:KEPT]}
    with opened(chromium, report, "laptop", screenshots, "#cnn//") as page:
        assert page.locator("main b.x, main [onclick]").count() == 0, "names are text"
        show_all(page)
        missing = {index for index, _ in readings(FIRST, None, None)} - kept
        text = page.locator(".view > .soft").inner_text()
        assert f"Without a picture: {len(missing)} images (" in text
        assert set(re.search(r"\((.*)\)", text)[1].split(", ")) == set(map(str, missing))
        assert "report.kept_errors" in text
        tiles = page.locator(".view .tile").evaluate_all("(all) => all.map((each) => each.className)")
        without = {index for (index, *_), kind in zip(figures(page), tiles, strict=True) if kind == "tile none"}
        assert without == missing
        empty = page.locator(".view .none").first
        assert empty.evaluate("(tile) => getComputedStyle(tile).backgroundImage") == "none", "no other image's picture"
        box = page.locator(".view .tile").first.bounding_box()
        assert (box["width"], box["height"]) == (48, 64)
        for place, (index, *_) in list(enumerate(figures(page)))[:60:9]:
            if index in kept:
                shown = Image.open(io.BytesIO(page.locator(".view .tile").nth(place).screenshot())).convert("RGB")
                assert {shown.getpixel(point) for point in ((5, 5), (24, 32), (42, 58))} == {colour(index)}


def test_two_architectures_side_by_side(report: Path, chromium, screenshots: Path) -> None:
    comparison = Comparison("", SECOND, FIRST)
    with opened(chromium, report, "laptop", screenshots) as page:
        one, other = page.get_by_label("architecture").all()
        one.select_option("vs")
        other.select_option("cnn")
        page.get_by_text("show", exact=True).press("Enter")
        page.get_by_text("vs and cnn: images that only one of them gets right.").wait_for()
        assert page.url.endswith("#vs/vs/cnn")
        show_all(page, ".pair > :first-child")
        show_all(page, ".pair > :last-child")
        for half, better, worse, expected in ((1, "vs", FIRST, comparison.broke), (2, "cnn", SECOND, comparison.fixed)):
            assert len(expected) > 5
            within = f".pair > :nth-child({half})"
            heading = f"{better} right, {worse.name} wrong: {len(expected)} images"
            assert page.locator(f"{within} h3").inner_text() == heading
            errors = worse.errors.set_index("index").loc[expected]
            rows = {row.Index: f"{NAMES[row.label]} read as {NAMES[row.prediction]}" for row in errors.itertuples()}
            shown = figures(page, within)
            assert {index: text for index, text, *_ in shown} == rows
            assert shown == sorted(shown, key=lambda figure: -figure[2]), "most confident first"
        page.goto(f"{report.as_uri()}#cnn/vs/vs")
        page.get_by_text("cnn and vs: images that only one of them gets right.").wait_for()
        assert page.locator("select").first.input_value() == "cnn"
        for address in ("#cnn/7/1", "#mlp/0/1", "#%"):  # of nothing: the page is as it is
            page.evaluate(GO, address)
            assert page.locator(".view figure, .view a").count() == 0
            page.evaluate(GO, "#cnn/0/1")
            assert page.locator(".view figure").count() > 0


def test_a_cell_of_a_review_shows_what_changed(project: Project, chromium: Browser, screenshots: Path) -> None:
    project.edit_json("metrics/predictions/cnn.json", lambda file: file["prediction"][0].reverse())
    now = Predictions.parse((project.path / "metrics/predictions/cnn.json").read_bytes(), "cnn", "")
    project.run("python", "-m", "tools.review", "HEAD")
    base = predictions(project, "HEAD", "cnn")
    change = Comparison("cnn", base, now)
    matrix = change.confusion_difference().to_numpy()
    label, prediction = np.argwhere(matrix == matrix.max())[0]
    with opened(chromium, project.path / "review/review.html", "laptop", screenshots) as page:
        page.locator(f"[href='#cnn/{label}/{prediction}']").click()
        page.get_by_text(f"cnn, label {label} read as {prediction}: ").wait_for()
        show_all(page)
        expected = {
            (index, "now" if side is now else "in base")
            for side, other in ((now, base), (base, now))
            for index in np.flatnonzero((now.label == label) & (side.prediction[0] == prediction))
            if other.prediction[0, index] != prediction
        }
        shown = figures(page)
        assert {(index, note) for index, _, _, note in shown} == expected
        assert len(shown) == len(expected)
        assert sum(1 if note == "now" else -1 for *_, note in shown) == matrix[label, prediction]
        assert page.locator(".view .tile:not(.none)").count() > 0
        assert "plots/errors/cnn.png in workspace: not made from its predictions (dvc.lock)" in page.content()
