"""Renders a review as Markdown, for a comment, and as one self-contained HTML page."""

import functools
import io
from collections import defaultdict

from PIL import Image

from stages.results.pictures import png
from tools.common import charts
from tools.common.changes import BETTER, REMOVED, WORSE, interval, percent
from tools.common.revision import Revision
from tools.common.templates import data_uri, render
from tools.review.content import Review
from tools.review.sections import Digit, Section

LONGEST = 60_000  # characters of the Markdown; GitHub takes 65,536 in a comment
WORDS = {"percent": percent, "interval": interval, "better": BETTER, "worse": WORSE, "removed": REMOVED}
MOST_PIXELS = 10_000_000  # of a picture
SHOWN = 60  # digits shown as pictures, at most; all are listed


def html(review: Review, sections: list[Section], missing: list[str]) -> str:
    """Renders the page, with its pictures in it; `missing` lists the pictures that are missing, a line each."""
    names = {section.architecture.name for section in sections}
    shown = {"sections": sections, "names": names, "missing": missing, "curves": curves, "shown": SHOWN}
    return render("review.html.j2", review=review, picture=functools.partial(picture, review.head), **WORDS, **shown)


def picture(revision: Revision, path: str) -> str:
    """A picture in git, as a URI; empty if it is missing, damaged or very large."""
    try:
        content = revision.read(path) or b""
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            is_small = opened.width * opened.height <= MOST_PIXELS
    except Exception:  # Pillow raises a dozen classes for damaged pictures
        return ""
    return data_uri(content) if is_small else ""


def markdown(review: Review, sections: list[Section], pictures: str | None) -> str:
    """Renders the comment. It shows the head's pictures if `pictures` is the URL where the head's files can be seen."""
    shown = {"sections": sections, "pictures": pictures, "by_pair": by_pair}
    text = render("review.md.j2", review=review, **WORDS, **shown)
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition("\n")[0] + "\n\n… cut here: too long for a comment. The HTML page has all of it.\n"


def by_pair(digits: list[Digit]) -> list[tuple[str, str]]:
    """Groups the digits by label and wrong prediction, most frequent pair first: `("7 as 2", "340, 1226")`."""
    numbers = defaultdict(list)
    for digit in digits:
        numbers[digit.label, digit.wrong].append(str(digit.index))
    pairs = sorted(numbers.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(f"{label} as {wrong}", ", ".join(indices)) for (label, wrong), indices in pairs]


def curves(section: Section) -> str:
    """Draws the training curves before and after, as a picture in a URI."""
    before = section.base.history if section.base else None
    figure = charts.before_and_after(before, section.head.history, f"{section.architecture.name}: training")
    return data_uri(png(figure))
