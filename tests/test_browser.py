"""Every page that a reviewer opens, in a real browser without a network: charts drawn, nothing asked for outside.

Screenshots go to the folder `--screenshots DIR`.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from .conftest import Project, shared_by_workers

pytestmark = pytest.mark.browser

SIZES = {"laptop": {"width": 1280, "height": 800}, "phone": {"width": 380, "height": 844}}

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
    legends: texts("legend-title"),
    entries: texts("legend-label"),
    marks: view.container().querySelectorAll(".role-mark path, .role-mark line, .role-mark text").length,
  };
})
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser: found none of {', '.join(names)}; install one: apt install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All pages, for a change of which a training history and predictions differ."""

    def make(folder: Path) -> None:
        project = built_project.clone(folder / "project")
        history = project.path / "plots/history/cnn.csv"
        history.write_text(history.read_text().replace(",0.", ",0.1"))
        project.edit_json("metrics/predictions/cnn.json", lambda file: file["prediction"][0].reverse())
        project.run("dvc", "plots", "show", "--out", "shown")
        project.run("dvc", "plots", "diff", "HEAD", "--out", "diffed")
        project.run("python", "-m", "tools.review", "HEAD")

    project = shared_by_workers(tmp_path_factory, "pages", make) / "project"
    paths = {"show": "shown/index.html", "diff": "diffed/index.html", "report": "plots/report.html"}
    return {name: project / path for name, path in (paths | {"review": "review/review.html"}).items()}


@pytest.fixture(scope="module", params=["show", "diff", "report", "review"])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=SIZES)
def size(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def colours(size) -> str:
    """Light on the laptop, dark on the phone."""
    return {"laptop": "light", "phone": "dark"}[size]


@pytest.fixture(scope="module")
def page(chromium, pages, name, size, colours, request, tmp_path_factory) -> Iterator[Page]:
    """The page, opened, and a screenshot of it; any error in its console or request to outside fails the tests."""
    page = chromium.new_page(viewport=SIZES[size], color_scheme=colours)
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
    page.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())
    page.goto(pages[name].as_uri())
    page.evaluate("Promise.all(window.charts || []).then(() => null)")
    folder = Path(request.config.getoption("--screenshots") or tmp_path_factory.mktemp("screenshots"))
    page.screenshot(path=folder / f"{name}-{size}-{colours}.png", full_page=True)
    yield page
    page.close()
    assert not faults


def luminance(colour: str) -> float:
    """How light `rgb(…)` is, from 0, black, to 1, white (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ratio(*colours: str) -> float:
    """The contrast of two colours, from 1, the same, to 21, black on white (WCAG 2.2)."""
    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def contrast(page: Page, selector: str) -> float:
    """The contrast between an element's text and the page behind it."""
    colour = "(selector) => getComputedStyle(document.querySelector(selector))"
    return ratio(page.evaluate(f"{colour}.color", selector), page.evaluate(f"{colour}.backgroundColor", "body"))


def test_a_page_fits_its_screen_and_its_pictures_are_there(page, size) -> None:
    assert page.title()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= SIZES[size]["width"]
    assert page.evaluate("document.images.length") > 0
    tables = "[...document.querySelectorAll('.scroll')].filter((box) => size == 'laptop' || box.closest('.cards'))"
    hidden = page.evaluate(f"(size) => {tables}.map((box) => box.scrollWidth - box.clientWidth)", size)
    assert max(hidden, default=0) <= 0, "a table is cut off"
    page.evaluate("Promise.all([...document.images].map((image) => image.decode())).then(() => null)")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_text_is_legible_in_light_and_dark(page, name, colours) -> None:
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) < 0.1) == (colours == "dark")
    assert contrast(page, "body") > 7
    for selector, least in (("h1", 7), ("td", 7), (".soft", 4.5)) if name in ("report", "review") else ():
        assert contrast(page, selector) > least


@pytest.mark.parametrize("name", ["diff"], indirect=True)
def test_pictures_of_both_revisions_are_seen_without_scrolling(page, size) -> None:
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


@pytest.mark.parametrize("size", ["laptop"], indirect=True)
@pytest.mark.parametrize("name", ["show", "diff"], indirect=True)
def test_the_numbers_of_a_confusion_matrix_are_legible(page) -> None:
    cells, numbers = page.evaluate(READ_CELLS, ".mark-rect path"), page.evaluate(READ_CELLS, ".mark-text text")
    assert len(set(cells)) > 2
    assert min(ratio(*pair) for pair in zip(cells, numbers, strict=True)) > 4.5


def charts(page: Page) -> dict[str, dict[str, Any]]:
    """What each chart shows, by its title; the other titles are those of panels, which name the data set."""
    charts = page.evaluate(READ_CHARTS)
    titles = [{title for title in chart["titles"] if not title.endswith("on tiny digits")} for chart in charts]
    return {title: chart for (title,), chart in zip(titles, charts, strict=True)}


@pytest.mark.parametrize("size", ["laptop"], indirect=True)
@pytest.mark.parametrize("name", ["show", "diff"], indirect=True)
def test_each_chart_drew_marks_under_its_title_with_its_legends(page, name) -> None:
    found = charts(page)
    per_architecture = {
        f"{architecture}: {what}"
        for architecture in ("cnn", "mlp_256")
        for what in ("training history", "confusion matrix of the test images")
    }
    spanning = {"Mean test accuracy of the architectures, with intervals", "Training of the architectures"}
    assert set(found) == per_architecture | spanning
    revisions = {"workspace"} if name == "show" else {"HEAD", "workspace"}

    comparison = found["Mean test accuracy of the architectures, with intervals"]
    assert set(comparison["axes"]) == {"accuracy", "architecture"}
    assert set(comparison["entries"]) == {f"{revision} on tiny digits" for revision in revisions}
    assert comparison["marks"] >= 2 * 2 * len(revisions)  # a point and a rule for each architecture
    history = found["cnn: training history"]
    assert set(history["entries"]) == revisions | {"train"}
    assert set(found["mlp_256: training history"]["entries"]) == revisions | {"train", "validation"}
    confusion = found["cnn: confusion matrix of the test images"]
    assert {f"{revision} on tiny digits" for revision in revisions} <= set(confusion["titles"])
    assert set(confusion["axes"]) == {"label", "prediction"}
    assert confusion["marks"] >= 2 * 10 * len(revisions)  # a cell and its number
    training = found["Training of the architectures"]
    assert {"cnn", "mlp_256"} | revisions == set(training["entries"])
    assert training["marks"] > 0
