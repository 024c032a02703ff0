"""Fills in the Markdown templates of the pages that tools write, and renders Markdown as HTML."""

import base64
import functools
import re
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from stages.support.errors import printable

FOLDER = Path(__file__).parent
# Markdown's markup within a line, and GitHub's mathematics; underscores, tildes, brackets only where they are markup
MARKUP = r"[\\`*|$]|(?<!\w)_|_(?!\w)|~~|!?\[(?=[^\]]*\][(\[])|<(?=[\w/!?])|&(?=#?\w+;)|(?<!\w)@|://|^[#+=>-](?=\D)"
DIFF = {"-": "bad", "+": "good"}


def render(template: str, **context: Any) -> str:
    """Fills in a Markdown template of this folder.

    Every text that is filled in is escaped, so that Markdown shows it as it is, unless it is `Markup`. In a block of
    code it needs the filter `fenced` in place of that.
    """
    return _environment().get_template(template).render(context)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup | int | float) else escaped(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = _fenced
    return environment


def data_uri(png: bytes) -> Markup:
    """Encodes a PNG as a data URI, for self-contained pages."""
    return Markup("data:image/png;base64,{}").format(base64.b64encode(png).decode())


def escaped(value: Any) -> Markup:
    """Escapes text so that Markdown shows it as it is, in one line: no markup, HTML, link or mention of a user."""
    text = printable(str(value))
    return Markup(re.sub(MARKUP, lambda match: "".join(f"&#{ord(character)};" for character in match[0]), text))  # noqa: S704


def _fenced(value: Any) -> Markup:
    """Makes text one line of a block of code, which it cannot end."""
    return Markup(printable(str(value)).replace("```", "'''"))  # noqa: S704


def html_page(title: str, text: str, inputs: str = "") -> str:
    """Renders Markdown as a self-contained HTML page; `inputs` is a digest of what it was made from."""
    parser = MarkdownIt("commonmark", {"html": True, "highlight": _coloured}).enable("table")
    tokens = parser.parse(text)
    _name_cells(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    body = re.sub(r"<blockquote>\n<p>\[!(\w+)\]\n", r'<blockquote class="\1">\n<p>', body)  # GitHub's alerts
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    page = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    return page.substitute(title=escape(printable(title)), inputs=escape(inputs), style=style, body=body)


def _coloured(code: str, *_: Any) -> str:
    """Colours the lines of a diff."""
    return "".join(f'<span class="{DIFF.get(line[:1], "")}">{escape(line)}</span>\n' for line in code.splitlines())


def _name_cells(tokens: list[Token]) -> None:
    """Gives each cell the name of its column, which the style shows beside it on a narrow screen."""
    names: list[str] = []
    for token, following in pairwise(tokens):
        if token.type == "table_open":
            names = []
        elif token.type == "th_open":
            names.append(following.content)
        elif token.type == "td_open":
            token.attrSet("data-label", names[0])
            names.append(names.pop(0))  # the next column's first
