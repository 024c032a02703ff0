"""A real browser without a network: opens pages of a folder, and measures contrast."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

COLOURS = {"laptop": "light", "phone": "dark"}
SIZES = {"laptop": {"width": 1280, "height": 800}, "phone": {"width": 380, "height": 844}}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser: found none of {', '.join(names)}; install one: apt install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Browser, path: Path, size: str, screenshots: Path, address: str = "") -> Iterator[Page]:
    """A page, light on the laptop and dark on the phone, of which it takes a screenshot; `address` begins with `#`.

    Any error in its console and any request to outside fails the test.
    """
    page = chromium.new_page(viewport=SIZES[size], color_scheme=COLOURS[size])
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else faults.append(sent.url))
    page.route(lambda url: not url.startswith(("file:", "data:")), lambda route: route.abort())
    page.goto(path.as_uri() + address)
    page.evaluate("Promise.all(window.charts || []).then(() => null)")
    page.screenshot(path=screenshots / f"{path.parent.name}-{path.stem}-{size}.png", full_page=True)
    yield page
    page.close()
    assert not faults


def figures(page: Page, within: str = ".view") -> list[tuple[int, str, float, str]]:
    """The images shown: index, what is read as what, probability in percent, note."""
    texts = page.locator(f"{within} figcaption").evaluate_all("(all) => all.map((each) => each.innerText)")
    rows = [text.split("\n") for text in texts]
    pairs = [re.fullmatch(r"#(\d+)\s·\s([\d.]+)%", row[1]).groups() for row in rows]
    return [
        (int(index), row[0], float(share), " ".join(row[2:]))
        for row, (index, share) in zip(rows, pairs, strict=True)
    ]  # fmt: skip


def show_all(page: Page, within: str = ".view") -> None:
    while (more := page.locator(f"{within} button")).is_visible():
        more.click()


def luminance(colour: str) -> float:
    """How light `rgb(…)`, or a mixed `color(srgb …)`, is, from 0, black, to 1, white (WCAG 2.2)."""
    most = 1 if colour.startswith("color(srgb ") else 255
    parts = [float(part) / most for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ratio(*colours: str) -> float:
    """The contrast of two colours, from 1, the same, to 21, black on white (WCAG 2.2)."""
    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(request.config.getoption("--screenshots") or tmp_path)
