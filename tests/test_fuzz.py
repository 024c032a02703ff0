"""Damaged and hostile files are read, or refused in one line.

Hypothesis (https://hypothesis.readthedocs.io) draws files for each reader, `--times N` N times as many: a valid file
with a few edits. Each reader has a process of its own, with little memory, in which a crash is noticed.
"""

import contextlib
import io
import os
import re
import resource
import signal
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from stages.data.archive import MEMBERS, Archive, read_archive, write_archive
from stages.support.errors import PipelineError
from stages.support.params import load_params
from tools.common import results
from tools.common.revision import WORKSPACE, Revision
from tools.digits.own import prepare
from tools.digits.pictures import read
from tools.review.content import Review
from tools.review.page import html, markdown

from . import forked
from .conftest import TINY_PARAMS, TUTORIALS

KINDS = [("png", "L"), ("png", "RGBA"), ("png", "P"), ("jpeg", "RGB"), ("gif", "P"), ("tiff", "L"), ("bmp", "RGB")]
KINDS += [("webp", "RGB"), ("ppm", "RGB")]


Target = tuple[Callable[[Path], object], list[Path]]  # what reads a file, and the valid files for it


def archives(folder: Path) -> Target:
    """The reader of data sets."""
    labels = np.arange(20, dtype=np.uint8) % 3
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 4), dtype=np.uint8)
    arrays = dict(zip(MEMBERS, (images, labels, images[:6], labels[:6]), strict=True))
    write_archive(folder / "plain.npz", Archive(**arrays))
    np.savez_compressed(folder / "compressed.npz", **arrays)
    return read_archive, list(folder.iterdir())


def params(folder: Path) -> Target:
    """The reader of params.yaml."""
    (folder / "all.yaml").write_text(TUTORIALS.read_text())
    (folder / "small.yaml").write_text(TINY_PARAMS)
    return load_params, list(folder.iterdir())


def reviews(folder: Path) -> Target:
    """All that a review reads of a branch, compared with the same files undamaged, in a commit."""
    os.chdir(folder)
    base = Revision.find("HEAD")

    def review(_: Path) -> None:
        compared = Review.of(base, WORKSPACE, 0.95)
        html(compared)
        markdown(compared, None)

    kinds = (results.metrics, results.predictions, results.history, results.errors, results.errors_table)
    shared = ("params.yaml", "dvc.yaml", "dvc.lock", results.DESCRIPTION, results.COMPARISON, results.TRAINING)
    return review, [folder / path for path in (*shared, *(path("cnn") for path in kinds))]


def pictures(folder: Path) -> Target:
    """The reader of people's pictures."""

    def classify(path: Path) -> None:
        try:
            prepare(read(path)[0], 28, 28)
        except ValueError as error:  # it shows no digit
            raise PipelineError(str(error)) from error

    drawn = np.full((40, 40), 255, np.uint8)
    drawn[8:32, 18:23] = 0
    for kind, mode in KINDS:
        stream = io.BytesIO()
        Image.fromarray(drawn).convert(mode).save(stream, kind)
        (folder / f"{mode}.{kind}").write_bytes(stream.getvalue())
    return classify, list(folder.iterdir())


TARGETS = {"archives": archives, "params": params, "reviews": reviews, "pictures": pictures}


TOKENS = [
    b"", b"[", b"]", b"{", b"}", b"[" * 2000, b"{a: " * 2000, b'{"a":' * 2000, b"&a *a", b"&a [*a]", b"<<: *a",
    b"!!python/name:os", b"null", b"NaN", b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"true", b'"x"', b"\xff\xfe",
    b"\0", b"\n", b"\x1b[31m", b",", b":", b"2026-11-27", b"../../x", b"${a}", b"${architectures}", b"\xff" * 4,
    b"\0" * 4, b"PK\5\6", b"PK\1\2", b"IDAT", b"'shape': (", b"10000000000",
]  # fmt: skip
WORD = re.compile(rb'[^ \n,:\[\]{}"]+')  # in JSON, YAML or CSV, a value


@st.composite
def edited(draw: st.DrawFn, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Draws one of the files, with one to four edits."""
    name = draw(st.sampled_from(sorted(files)))
    content = files[name]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 8, 64, 1000, len(content)])))
        kind = draw(st.sampled_from(["token", "bytes", "repeat", "cut", "word"]))
        if kind == "token":
            new = draw(st.sampled_from(TOKENS))
        elif kind == "bytes":
            new = draw(st.binary(max_size=8))
        elif kind == "repeat":
            new = content[start:end] * draw(st.sampled_from([2, 3, 50]))
        elif kind == "cut":
            new, end = b"", len(content)
        else:  # another value at the place of one
            start, end = draw(st.sampled_from([word.span() for word in WORD.finditer(content)] or [(start, end)]))
            new = draw(st.sampled_from(TOKENS))
        content = (content[:start] + new + content[end:])[:2_000_000]
    return name, content


class TooSlow(BaseException):
    """Ends the reading of a file. It is no `Exception`, as readers turn these into their own."""


def too_slow(*_: object) -> None:
    raise TooSlow


def check(read: Callable[[Path], object], path: Path) -> None:
    """Reads a file, which prints one line at most, and takes less than ten seconds."""
    signal.setitimer(signal.ITIMER_REAL, 10)
    with contextlib.redirect_stderr(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read(path)
        except PipelineError as error:
            printed.write(f"{error}\n")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert printed.getvalue().count("\n") <= 1, printed.getvalue()


def check_many(name: str, number: int, folder: Path) -> None:
    """Checks a reader with many files, in a process that may take 2 GiB more than it has."""
    used = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31,) * 2)
    signal.signal(signal.SIGALRM, too_slow)
    read, paths = TARGETS[name](folder)
    files = {str(path): path.read_bytes() for path in paths}

    @seed(number)
    @settings(
        max_examples=30 if name == "reviews" else 100,  # which are slow
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(edited(files))
    def check_one(drawn: tuple[str, bytes]) -> None:
        path, content = drawn
        Path(path).write_bytes(content)
        check(read, Path(path))
        Path(path).write_bytes(files[path])

    check_one()


@pytest.mark.times
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_and_hostile_files_are_read_or_refused_in_one_line(target, repetition: int, project, tmp_path) -> None:
    folder = project.path if target == "reviews" else tmp_path / "files"
    folder.mkdir(exist_ok=True)
    with ProcessPoolExecutor(1, forked.CONTEXT) as pool:
        pool.submit(check_many, target, repetition, folder).result()
