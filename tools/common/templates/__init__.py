"""Fills in the templates of the pages that tools write."""

import base64
import functools
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from stages.support.errors import printable

# Markdown's markup within a line, and GitHub's mathematics; underscores, tildes, brackets only where they are markup
MARKUP = r"[\\`*|$]|(?<!\w)_|_(?!\w)|~~|!?\[(?=[^\]]*\][(\[])|<(?=[\w/!?])|&(?=#?\w+;)|(?<!\w)@|://"


def render(template: str, **context: Any) -> str:
    """Fills a template of this folder in.

    HTML templates escape every text, and all templates control characters. A Markdown template passes texts through
    the filter `md`, or through `fenced` in a block of code.
    """
    return _environment().get_template(template).render(context, data_uri=data_uri)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.j2"]),
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": markdown, "fenced": _fenced}
    return environment


def data_uri(png: bytes) -> str:
    """Encodes a PNG as a data URI, for self-contained pages."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def markdown(value: Any) -> str:
    """Escapes text so that Markdown shows it as it is, in one line: no markup, HTML, link or mention of a user."""
    line = " ".join(str(value).split())
    return re.sub(MARKUP, lambda found: "".join(f"&#{ord(character)};" for character in found[0]), line)


def _fenced(value: Any) -> str:
    """Makes text one line of a block of code, which it cannot end."""
    return " ".join(str(value).splitlines()).replace("```", "'''")
