"""Shows which bytes of two files differ, for `tools.verify`."""

import zipfile
from pathlib import Path

import numpy as np

SHOWN_BYTES = 16  # bytes of each side

Names = tuple[str, str]  # what to call the two sides


def difference(one: Path, other: Path, names: Names) -> list[str]:
    """Describes what differs between two files, in a few lines; none if they are the same bytes.

    Of zip archives (.npz, .keras), names the members that differ, and shows the bytes of the first.

    Args:
        one, other: the files; one of them may be missing.
        names: what to call the two sides.
    """
    if not (one.is_file() and other.is_file()):
        has, lacks = names if one.is_file() else reversed(names)
        return [f"in {has}, not in {lacks}"]
    first, second = one.read_bytes(), other.read_bytes()
    if first == second:
        return []
    place = []
    if zipfile.is_zipfile(one) and zipfile.is_zipfile(other):
        members, others = _members(one), _members(other)
        if list(members) != list(others):
            return [
                f"members in {side}: {', '.join(file)}" for side, file in zip(names, (members, others), strict=True)
            ]
        place = ["every member is the same; the zip container (dates, attributes) differs"]
        if differing := [name for name in members if members[name] != others[name]]:
            place = [f"in {', '.join(differing)}, of which the first"]
            first, second = members[differing[0]], others[differing[0]]
    return [*place, *_byte_difference(first, second, names)]


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _byte_difference(first: bytes, second: bytes, names: Names) -> list[str]:
    """Describes how many bytes differ, where the first of them is, and what is there."""
    common = min(len(first), len(second))
    places = np.flatnonzero(np.frombuffer(first[:common], np.uint8) != np.frombuffer(second[:common], np.uint8))
    count = len(places) + abs(len(first) - len(second))
    offset = int(places[0]) if len(places) else common
    line = "" if b"\0" in first + second else f", line {first[:offset].count(10) + 1}"
    lines = [f"{len(first):,} and {len(second):,} bytes, {count:,} different, the first at offset {offset:,}{line}"]
    for name, shown in zip(names, (first[offset:][:SHOWN_BYTES], second[offset:][:SHOWN_BYTES]), strict=True):
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown)
        dump = f"{shown.hex(' '):{3 * SHOWN_BYTES - 1}}  {text}" if shown else "(its end)"
        lines.append(f"{name:{max(map(len, names))}}  {dump}")
    return lines
