"""What tests/fuzz.py reads with damaged and hostile files; each target writes valid ones into an empty folder first."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.files import write_text
from stages.data.archive import MEMBERS, Archive, read_archive, write_archive
from stages.report import report
from stages.support.errors import PipelineError
from stages.support.params import Overview, Report, load_params
from tools.common import results
from tools.common.comparison import read_architectures, tables
from tools.common.definitions import lookup, stages
from tools.common.revision import WORKSPACE, Revision, git
from tools.digits.own import prepare
from tools.digits.pictures import read
from tools.review.content import Review
from tools.review.page import html, markdown, read_images

from .reviews import of_models, write_results

ROOT = Path(__file__).parents[1]
SMALL = """
architectures:
  a:
    layers: [Flatten, {Dense: {units: classes, activation: softmax}}]
    fit: {epochs: 1, batch_size: 5}
"""
KINDS = [("png", "L"), ("png", "RGBA"), ("png", "P"), ("jpeg", "RGB"), ("gif", "P"), ("tiff", "L"), ("bmp", "RGB")]
KINDS += [("webp", "RGB"), ("ppm", "RGB")]


@dataclass(frozen=True)
class Target:
    """What reads a file, and the valid files for it."""

    read: Callable[[Path], object]
    files: list[Path]


def archives(folder: Path) -> Target:
    """The reader of data sets."""
    labels = np.arange(20, dtype=np.uint8) % 3
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 4), dtype=np.uint8)
    arrays = dict(zip(MEMBERS, (images, labels, images[:6], labels[:6]), strict=True))
    write_archive(folder / "plain.npz", Archive(**arrays))
    np.savez_compressed(folder / "compressed.npz", **arrays)
    return Target(read_archive, list(folder.iterdir()))


def params(folder: Path) -> Target:
    """The reader of params.yaml."""
    content = (ROOT / "tests/params.yaml").read_text()
    (folder / "all.yaml").write_text(content)
    (folder / "small.yaml").write_text(content[: content.index("\narchitectures:")] + SMALL)
    return Target(load_params, list(folder.iterdir()))


def reviews(folder: Path) -> Target:
    """All that a review reads of a branch, compared with the same files undamaged, in a commit."""
    os.chdir(folder)
    content = (ROOT / "tests/params.yaml").read_text().replace("seeds: [10, 11, 12]", "seeds: [10]")
    _write_results(content[: content.index("\narchitectures:")] + SMALL)
    for command in (("init", "-q"), ("add", "-A"), ("-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x")):
        git(*command)
    base = Revision.find("HEAD")
    undamaged = Review.of(base, WORKSPACE, 0.95)
    if said := [*undamaged.warnings, *undamaged.base_stale, *read_images(undamaged)[1]]:
        raise AssertionError(f"valid files are said to be damaged: {said}")

    def review(_: Path) -> None:
        found = Review.of(base, WORKSPACE, 0.95)
        html(found)
        markdown(found, None)

    kinds = (results.metrics, results.predictions, results.history, results.errors, results.errors_table)
    shared = ("params.yaml", "dvc.yaml", "dvc.lock", results.DESCRIPTION, results.COMPARISON, results.TRAINING)
    return Target(review, [folder / path for path in (*shared, *(path("a") for path in kinds))])


def _write_results(content: str) -> None:
    """Writes the results of one architecture into the current folder, with a dvc.lock that matches."""
    label = np.arange(30) % 10
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), 30)
    probability = probabilities.max(axis=1).round(6)
    predictions = of_models(label, probabilities.argmax(axis=1), probability, "a")
    write_results(Path(), predictions)
    settings = Report(confused_pairs=5, worst_errors=10, kept_errors=25)
    report(predictions, np.zeros((30, 8, 8, 1), np.float32), settings, results.PLOTS)
    texts = {
        Path("params.yaml"): content,
        Path("dvc.yaml"): (ROOT / "dvc.yaml").read_text(),
        Path("plots/samples.png"): "",
    }
    for path, text in texts.items():
        write_text(path, text)
    params = WORKSPACE.params()
    for path, table in tables(read_architectures(WORKSPACE)[0], Overview.model_validate(params["overview"])).items():
        write_text(path, table.to_csv(index=False))
    defined = stages(WORKSPACE.read_yaml("dvc.yaml"), params, "dvc.yaml")
    outs = {path for stage in defined.values() for path in stage.outs}
    for path in {path for stage in defined.values() for path in stage.deps} - outs:
        write_text(Path(path) if path.endswith(".py") else Path(path, "code.py"), "")
    entries = {
        name: {
            "cmd": stage.cmd,
            **{key: [_recorded(path) for path in getattr(stage, key)] for key in ("deps", "outs")},
            "params": {"params.yaml": {key: lookup(params, key) for key in stage.params}},
        }
        for name, stage in defined.items()
    }
    Path("dvc.lock").write_text(json.dumps({"stages": entries}, indent=1))


def _recorded(path: str) -> dict[str, str]:
    return {"path": path, "md5": WORKSPACE.digest(path) or "0" * 32}


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
    return Target(classify, list(folder.iterdir()))


TARGETS = {"archives": archives, "params": params, "reviews": reviews, "pictures": pictures}
