"""Writing outputs so that no half-written file ever bears a final name, and always the same bytes."""

import contextlib
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.errors import PipelineError

PARTIAL_PREFIX = ".partial-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moves it to `path` when the block ends without error.

    If the block raises, `path` stays as it was and the temporary file is removed. A full disk or a
    read-only folder becomes a `PipelineError` that names `path`.
    """
    partial = path.with_name(PARTIAL_PREFIX + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 with newlines as they are."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Writes a JSON object of long lists, each on one line."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in columns.items())
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV with a header line and `\\n` line ends on every platform."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
