"""The templates of the pages that tools write, and how they are filled in."""

import base64
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

# What means something to Markdown in the middle of a line; underscores, tildes and brackets only where they do
MARKUP = r"[\\`*|]|(?<!\w)_|_(?!\w)|~~|!?\[(?=[^\]]*\][(\[])|<(?=[\w/!?])|&(?=#?\w+;)|(?<!\w)@|://"


def render(template: str, **context: Any) -> str:
    """A template of this folder with the context filled in.

    In HTML every text is escaped; a Markdown template passes texts through `md`, or through `fenced` in
    a block of code.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": _markdown, "fenced": _fenced}
    return environment.get_template(template).render(context, data_uri=data_uri)


def data_uri(png: bytes) -> str:
    """A PNG as a URI that holds it, for pages that stand alone."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _markdown(value: Any) -> str:
    """Text that Markdown shows as it is, in one line: no markup, no HTML, no link, no mention of a user."""
    line = " ".join(str(value).split())
    return re.sub(MARKUP, lambda found: "".join(f"&#{ord(character)};" for character in found[0]), line)


def _fenced(value: Any) -> str:
    """One line in a block of code, which it cannot end."""
    return " ".join(str(value).splitlines()).replace("```", "'''")
