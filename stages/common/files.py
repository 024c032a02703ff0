"""Writes files atomically and deterministically, and reads them."""

import contextlib
import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from stages.support.errors import PipelineError

PARTIAL_PREFIX = ".partial-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moves it to `path` when the block ends without error.

    If the block raises, `path` is unchanged and the temporary file is removed. A full disk or a read-only
    folder raises a `PipelineError` that names `path`. The temporary name contains the process ID, so two
    processes never share one. Files left by a killed process are removed by the next one that writes `path`.
    """
    partial = path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot write: {error.strerror or error}; fix it and rerun") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f"{PARTIAL_PREFIX}*-{path.name}"):
        process = leftover.name.removeprefix(PARTIAL_PREFIX).partition("-")[0]
        if not (process.isdigit() and psutil.pid_exists(int(process))):
            leftover.unlink(missing_ok=True)


def read_bytes(path: Path) -> bytes:
    """Reads a file. Raises `PipelineError` if that is not possible."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot read: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, newlines unchanged."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, without sorting keys."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Writes a JSON object of long lists, each on one line."""
    lines = (f'"{key}":{json.dumps(value, separators=(",", ":"), allow_nan=False)}' for key, value in columns.items())
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file with a header, and `\\n` line endings on every platform."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
