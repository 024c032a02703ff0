"""Every page that a reviewer opens, in a real browser without a network: charts drawn, nothing requested from outside.

Screenshots go to the folder `--screenshots DIR`.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from .browser import COLOURS, SIZES, luminance, opened, ratio
from .browser import chromium as chromium
from .browser import screenshots as screenshots
from .conftest import Project, shared_by_workers

pytestmark = pytest.mark.browser

READ_CELLS = """
(mark) => [...document.querySelectorAll(`[id*="plots_confusion_"] .role-mark${mark}`)].map(
  (item) => getComputedStyle(item).fill
)
"""

READ_CHARTS = """
async () => (await Promise.all(window.charts)).map(({ view }) => {
  const texts = (role) => [...view.container().querySelectorAll(`.role-${role} text`)].map((text) => text.textContent);
  return {
    titles: texts("title-text"),
    axes: texts("axis-title"),
    entries: texts("legend-label"),
    marks: view.container().querySelectorAll(".role-mark path, .role-mark line, .role-mark text").length,
  };
})
"""


@pytest.fixture(scope="module")
def pages(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All pages, for a change of which a training history and predictions differ."""

    def make(folder: Path) -> None:
        project = built_project.clone(folder / "project")
        history = project.path / "plots/history/cnn.csv"
        history.write_text(history.read_text().replace(",0.", ",0.1"))
        project.edit_json("metrics/predictions/cnn.json", lambda file: file["prediction"][0].reverse())
        project.run("dvc", "plots", "diff", "HEAD", "--out", "diffed")
        project.run("python", "-m", "tools.review", "HEAD")

    project = shared_by_workers(tmp_path_factory, "pages", make) / "project"
    paths = {"diff": "diffed/index.html", "report": "plots/report.html", "review": "review/review.html"}
    return {name: project / path for name, path in paths.items()}


def check_fit(page: Page, size: str) -> None:
    """The page fits its screen, no table is cut off, and its pictures are there."""
    assert page.title()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= SIZES[size]["width"]
    assert page.evaluate("document.images.length") > 0
    tables = "[...document.querySelectorAll('.scroll')].filter((box) => size == 'laptop' || box.closest('.cards'))"
    hidden = page.evaluate(f"(size) => {tables}.map((box) => box.scrollWidth - box.clientWidth)", size)
    assert max(hidden, default=0) <= 0, "a table is cut off"
    cells = (
        "[...document.querySelectorAll('.cards td + td:not(:empty)')].map((cell) => getComputedStyle(cell, '::before'))"
    )
    named = page.evaluate(f"{cells}.map(({{ content }}) => content !== 'none' && content.length > 2)")
    assert set(named) <= {size == "phone"}, "a figure has the name of its column where there is no head"
    page.evaluate("Promise.all([...document.images].map((image) => image.decode())).then(() => null)")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def check_text(page: Page, size: str, name: str) -> None:
    """Text is legible on the page's background."""
    read = "([selector, style]) => getComputedStyle(document.querySelector(selector))[style]"
    background = page.evaluate(read, ["body", "backgroundColor"])
    assert (luminance(background) < 0.1) == (COLOURS[size] == "dark")
    selectors = {"body": 7, **({"h1": 7, "td": 7, ".soft": 4.5} if name in ("report", "review") else {})}
    for selector, least in selectors.items():
        assert ratio(page.evaluate(read, [selector, "color"]), background) > least, selector
    cells = page.evaluate("""
      [...document.querySelectorAll(".matrix td > *")].map((cell) => getComputedStyle(cell)).map(
        ({ color, backgroundColor }) => [color, backgroundColor]
      )
    """)
    cells = [(ink, background if paper == "rgba(0, 0, 0, 0)" else paper) for ink, paper in cells]
    assert (len(cells) > 20) == (name in ("report", "review"))
    assert all(ratio(*pair) > 4.5 for pair in cells)


def check_pairs(page: Page, size: str) -> None:
    """Pictures of both revisions are seen without scrolling, side by side where there is room."""
    pairs = page.evaluate("""
      [...document.querySelectorAll("body > div:has(img)")].map((box) => ({
        revisions: box.querySelectorAll("img").length,
        hidden: box.scrollWidth - box.clientWidth,
        tops: new Set([...box.querySelectorAll("img")].map((image) => image.getBoundingClientRect().top)).size,
      }))
    """)
    assert pairs
    assert all(pair["hidden"] <= 0 for pair in pairs)
    assert {pair["tops"] for pair in pairs if pair["revisions"] == 2} == {1 if size == "laptop" else 2}


def check_charts(page: Page) -> None:
    """Each of DVC's charts has its marks, its title and its legends; numbers on a confusion matrix are legible."""
    cells, numbers = page.evaluate(READ_CELLS, ".mark-rect path"), page.evaluate(READ_CELLS, ".mark-text text")
    assert len(set(cells)) > 2
    assert min(ratio(*pair) for pair in zip(cells, numbers, strict=True)) > 4.5
    charts = {}
    for chart in page.evaluate(READ_CHARTS):
        (title,) = {title for title in chart["titles"] if not title.endswith("on tiny digits")}  # others: of panels
        charts[title] = set(chart["axes"] + chart["entries"])
        assert chart["marks"] >= 4
    revisions = {"HEAD", "workspace"}
    on_digits = {f"{revision} on tiny digits" for revision in revisions}
    matrices = [charts.pop(f"{name}: confusion matrix of the test images") for name in ("cnn", "mlp_256")]
    assert all({"label", "prediction"} <= matrix for matrix in matrices)
    assert charts.pop("Mean test accuracy of the architectures, with intervals") == on_digits | {
        "accuracy",
        "architecture",
    }
    assert {"cnn", "mlp_256"} | revisions <= charts.pop("Training of the architectures")
    assert revisions | {"train"} <= charts.pop("cnn: training history")
    assert revisions | {"train", "validation"} <= charts.pop("mlp_256: training history")
    assert not charts


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["diff", "report", "review"])
def test_a_page_is_whole_and_legible(chromium, pages, name: str, size: str, screenshots: Path) -> None:
    with opened(chromium, pages[name], size, screenshots) as page:
        check_fit(page, size)
        check_text(page, size, name)
        if name == "diff":
            check_pairs(page, size)
            if size == "laptop":
                check_charts(page)
