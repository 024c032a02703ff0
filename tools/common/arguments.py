"""Checks numbers on the command line, and asks before deleting."""

import argparse
import math
import sys
from collections.abc import Callable

from stages.support.errors import PipelineError


def number(least: float, kind: type = int, most: float = math.inf) -> Callable[[str], int | float]:
    """Makes an argparse type for an int or a finite float from `least` to `most`."""
    limits = f"{least} or more" if most == math.inf else f"{least} to {most}"
    expected = f"expected {'a whole number, ' if kind is int else ''}{limits}"

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and value < math.inf):
            raise argparse.ArgumentTypeError(f"{expected}, found {text!r}")
        return value

    return parse


def confirmed(question: str, without: str) -> bool:
    """Asks on the terminal. If there is none, raises `PipelineError` with the command that needs no answer."""
    if not sys.stdin.isatty():
        raise PipelineError(f"no terminal to ask on; to delete these, run: {without}")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
