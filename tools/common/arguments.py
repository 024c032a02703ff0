"""Checks numbers on the command line."""

import argparse
import math
from collections.abc import Callable


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
