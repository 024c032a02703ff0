"""Shows which bytes of two files differ, for `tools.verify`.

Opens a zip archive (.npz, .keras), names the member that differs, and compares its bytes.
"""

import zipfile
from pathlib import Path

import numpy as np

SHOWN = 16  # bytes of each side

Names = tuple[str, str]  # what to call the two sides


def difference(one: Path, other: Path, names: Names) -> list[str]:
    """Describes what differs between two files, in a few lines; returns none if they are the same bytes.

    Args:
        one, other: the files; one of them may be missing.
        names: what to call the two sides.
    """
    if not (one.is_file() and other.is_file()):
        has, lacks = names if one.is_file() else reversed(names)
        return [f"in {has}, not in {lacks}"]
    first, second = _read(one), _read(other)
    if np.array_equal(first, second):
        return []
    if zipfile.is_zipfile(one) and zipfile.is_zipfile(other):
        return _archive_difference(one, other, names)
    return _byte_difference(first, second, names)


def _read(path: Path) -> np.ndarray:
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)


def _archive_difference(one: Path, other: Path, names: Names) -> list[str]:
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        members = first.namelist()
        if members != second.namelist():
            listed = zip(names, (members, second.namelist()), strict=True)
            return [f"members in {name}: {', '.join(members)}" for name, members in listed]
        differing = [member for member in members if first.read(member) != second.read(member)]
        if not differing:
            container = "every member is the same; the zip container (dates, attributes) differs"
            return [container, *_byte_difference(_read(one), _read(other), names)]
        contents = (np.frombuffer(archive.read(differing[0]), np.uint8) for archive in (first, second))
        others = f" (and also {', '.join(differing[1:])})" if differing[1:] else ""
        return [f"in its member {differing[0]}{others}", *_byte_difference(next(contents), next(contents), names)]


def _byte_difference(first: np.ndarray, second: np.ndarray, names: Names) -> list[str]:
    """Describes how many bytes differ, where the first of them is, and what is there, of uint8 (n,) and (m,)."""
    common = min(len(first), len(second))
    places = np.flatnonzero(first[:common] != second[:common])
    count = len(places) + abs(len(first) - len(second))
    offset = int(places[0]) if len(places) else common
    line = f", line {first[:offset].tobytes().count(10) + 1}" if _is_text(first) and _is_text(second) else ""
    width = max(map(len, names))
    return [
        f"{len(first):,} and {len(second):,} bytes, {count:,} different, the first at offset {offset:,}{line}",
        f"{names[0]:{width}}  {_dump(first, offset)}",
        f"{names[1]:{width}}  {_dump(second, offset)}",
    ]


def _is_text(content: np.ndarray) -> bool:
    try:
        return "\0" not in content.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        return False


def _dump(content: np.ndarray, offset: int) -> str:
    """Shows the bytes from `offset` on, in hexadecimal and, where they can be printed, as text."""
    shown = content[offset : offset + SHOWN].tobytes()
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown)
    return f"{shown.hex(' '):{3 * SHOWN - 1}}  {text}" if shown else "(its end)"
