"""Renders a review as Markdown, for a comment, and as one self-contained HTML page, from the same template."""

import functools
import re
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.results.pictures import png
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from tools.common import charts
from tools.common.changes import BETTER, NEW, REMOVED, WORSE, Change, interval, percent
from tools.common.images import Images, Sheet, change_rows, error_images
from tools.common.revision import Revision
from tools.common.templates import data_uri, html_page, render
from tools.review.content import Review
from tools.review.digits import by_pair, newly_right, newly_wrong

MAX_COMMENT = 60_000  # characters of the Markdown; GitHub takes 65,536 in a comment
MAX_DRAWN = 60  # digits shown as pictures, at most; all are listed
MAX_ROWS, MAX_VALUE = 100_000, 1e15  # of a history that is drawn: its rows, and their values
NO_PICTURE = Markup("")


def html(review: Review) -> str:
    """Renders the page, with its pictures in it."""
    images, missing = read_images(review)
    rows = {item.name: change_rows(item) for item in review.compared if item.difference}
    sheet = Sheet.of(images, (row[0] for listed in rows.values() for row in listed))
    text = _text(review, page=True, sheet=sheet, missing=missing, picture=inline_picture, curves=inline_curves)
    names = max((item.names for item in review.compared), key=len, default=[])
    data = sheet.script_data(names, 0, rows) if rows else None
    return html_page(f"Review: {review.head} against {review.base}", text, style=sheet.style, data=data)


def markdown(review: Review, url: str | None) -> str:
    """Renders the comment. It shows the pictures of both sides if `url` is where commits can be seen."""
    link = functools.partial(_link, url)
    text = _text(review, page=False, sheet=None, missing=[], picture=link, curves=lambda _: NO_PICTURE)
    text = re.sub(r"^#", "###", text, flags=re.MULTILINE)  # smaller headings
    if len(text) <= MAX_COMMENT:
        return text
    return text[:MAX_COMMENT].rpartition("\n")[0] + "\n\n… cut: too long for a comment. The HTML page has all of it.\n"


def _text(review: Review, **mode: Any) -> str:
    sections = [item for item in review.changed if not item.note or item.note == NEW]
    words = {"percent": percent, "interval": interval, "better": BETTER, "worse": WORSE, "removed": REMOVED}
    digits = {"newly_wrong": newly_wrong, "newly_right": newly_right, "by_pair": by_pair, "shown": MAX_DRAWN}
    return render("review.md.j2", review=review, sections=sections, **words, **digits, **mode)


def read_images(review: Review) -> tuple[Images, list[str]]:
    """Reads the test images of both sides, and lists why some are missing; none if the data set differs."""
    if review.other_data:
        return {}, []
    before = error_images(review.base, [item.base for item in review.architectures if item.base])
    after = error_images(review.head, [item.head for item in review.architectures if item.head])
    return before[0] | after[0], before[1] + after[1]


def inline_picture(revision: Revision, path: str) -> Markup:
    """Returns a picture in git as a URI; empty if it cannot be read."""
    try:
        content = revision.read(path)
    except PipelineError:
        return NO_PICTURE
    return data_uri(content) if content else NO_PICTURE


def _link(url: str | None, revision: Revision, path: str) -> Markup:
    """Returns the address of a picture in a commit; empty if it is missing, damaged or very large."""
    is_shown = url and revision.commit and inline_picture(revision, path)
    return Markup(f"{url}/{revision.commit}/{path}" if is_shown else "")  # noqa: S704 - a URL of --pictures


def inline_curves(change: Change) -> Markup:
    """Draws the training curves before and after, as a picture in a URI; empty if they cannot be drawn."""
    base, head = _curves(None if change.note else change.base), _curves(change.head)
    if base is None and head is None:
        return NO_PICTURE
    return data_uri(png(charts.before_and_after(base, head, f"{change.name}: training")))


def _curves(side: Predictions | None) -> pd.DataFrame | None:
    if side is None or len(side.history) > MAX_ROWS or max(abs(row[-1]) for row in side.history) >= MAX_VALUE:
        return None
    return side.curves
