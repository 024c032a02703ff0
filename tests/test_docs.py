"""README and docs, as printed: architectures are built, trained for an epoch and evaluated, and commands are run."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from stages.common.prepared import Dataset
from stages.data.archive import MEMBERS, read_archive, write_archive
from stages.fetch import fetch
from stages.models.building import build_model, load_model
from stages.models.checkpoint import Checkpoint
from stages.models.models import save_model
from stages.models.training import fit_model
from stages.support.params import Params, load_params
from stages.support.yaml import parse_yaml
from stages.train import check_fit
from tools.common.recipes import with_block
from tools.sweep.report import block_text
from tools.sweep.space import Space, ends

from .conftest import ROOT, TUTORIALS, Project, tiny_archive
from .reviews import of_models

TRAIN, TEST = 60, 20
DATASET = Dataset("tiny digits", 10, (28, 28, 1), count=TRAIN)
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE = re.compile(r" *- dataset:")
CONSOLE, PYTHON = (re.compile(rf"^```{kind}\n(.*?)^```", re.DOTALL | re.MULTILINE) for kind in ("console", "python"))
# Console blocks that no test here runs, by their page and section, and why
NOT_RUN = {
    "README.md: Change a parameter": "trains on MNIST; the form is tested in tests/test_repro.py",
    "README.md: Add an architecture": "the message is tested in tests/test_project.py",
    "README.md: Review a change": "of results on MNIST; the form is tested in tests/test_review.py",
    "docs/digits.md: Test images, predictions and errors": "of results on MNIST; see tests/test_digits.py",
    "docs/digits.md: Your own pictures": "of a model trained on MNIST; see tests/test_own_picture.py",
    "docs/reproducibility.md: Prove it": "takes minutes; see tests/test_verify.py",
    "docs/reproducibility.md: Other machines": "of other kernels; the form is tested in tests/test_review.py",
    "docs/reviewing.md: Review a change": "of results on MNIST; the form is tested in tests/test_review.py",
    "docs/reviewing.md: Rerun a commit": "reruns a commit; see tests/test_reproduce.py",
    "docs/searching.md: A few values: `dvc exp`": "run by tests/test_experiments.py",
    "docs/searching.md: Many values: `make sweep`": "takes half an hour; see tests/test_sweep.py",
}


def name_of(text: str) -> str:
    (name,) = parse_yaml(text.encode(), "a block")
    return name


BLOCKS = [(page, text) for page in PAGES for text in BLOCK.findall(page.read_text()) if "layers:" in text]
PRINTED = {f"{page.relative_to(ROOT)}: {name_of(text)}": text for page, text in BLOCKS}


def consoles() -> dict[str, str]:
    """The text of each console block, by its page and the heading above it."""
    texts: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text()
        for block in CONSOLE.finditer(text):
            heading = re.findall(r"^#+ (.*)$", text[: block.start()], re.MULTILINE)[-1]
            where = f"{page.relative_to(ROOT)}: {heading}"
            texts[where] = texts.get(where, "") + block[1]
    return texts


CONSOLES = consoles()


def with_architecture(block: str, folder: Path) -> Params:
    """The params of a file to which a block was added."""
    path = folder / "params.yaml"
    path.write_text(with_block(TUTORIALS.read_text(), block))
    return load_params(path)


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Digits of 28 x 28 pixels: float32 (n, 28, 28, 1) in [0, 1], and their labels, one-hot float32 (n, 10)."""
    digits = load_digits()
    images = np.kron(digits.images[: TRAIN + TEST] / 16, np.ones((1, 3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., np.newaxis].astype(np.float32)
    return images, np.eye(10, dtype=np.float32)[digits.target[: TRAIN + TEST]]


def check_it_runs(name: str, params: Params, folder: Path) -> int:
    """Builds it, trains it for an epoch, saves it, loads it and evaluates it; returns its number of parameters."""
    architecture = params.architecture(name)
    check_fit(name, architecture, DATASET)
    images, labels = images_and_labels()
    model = build_model(name, architecture, DATASET)
    one_epoch = architecture.fit.model_copy(update={"epochs": 1})
    checkpoint = Checkpoint(folder / "kept.npz", "")
    history = fit_model(model, images[:TRAIN], labels[:TRAIN], one_epoch, 10, checkpoint, lambda *_: None)
    save_model(model, folder / "10.keras")

    loaded = load_model(folder / "10.keras", name, architecture, DATASET, "native")
    probabilities = loaded.predict(images[TRAIN:], verbose=0)
    np.testing.assert_allclose(probabilities, model.predict(images[TRAIN:], verbose=0), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    rows = [(10, epoch, split, metric, float(value)) for epoch, split, metric, value in history]
    label, prediction = labels[TRAIN:].argmax(axis=1), probabilities.argmax(axis=1)
    models = replace(of_models(label, prediction, probabilities.max(axis=1)), history=rows)
    assert ("gap" in models.metrics(1.0)) == bool(architecture.fit.validation_split)
    return model.count_params()


@pytest.mark.parametrize("where", PRINTED)
def test_an_architecture_in_docs_runs_as_printed(where: str, tmp_path: Path) -> None:
    text = PRINTED[where]
    count = check_it_runs(name_of(text), with_architecture(text, tmp_path), tmp_path)
    assert re.findall(r"# ([\d,]+) parameters\n", text) == [f"{count:,}"] * ("cnn_best:" in text)


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("path", sorted((ROOT / "docs/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_search_space_in_docs_runs(path: Path, end: int, tmp_path: Path) -> None:
    space = Space.read(path)
    space.check(parse_yaml(TUTORIALS.read_bytes(), ""))
    block = space.filled(lambda _, options: ends(options)[end])
    check_it_runs(space.name, with_architecture(block_text(space.name, block), tmp_path), tmp_path)


def test_a_source_in_docs_is_read_where_the_page_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, pets = filter(SOURCE.match, BLOCK.findall((ROOT / "docs/data.md").read_text()))
    first = "    - dataset: MNIST\n"
    Path("params.yaml").write_text(TUTORIALS.read_text().replace(first, text + pets + first))
    write_archive(Path("data/own/my.npz"), tiny_archive())
    sources = load_params().data.sources
    archive, source, place = fetch(sources)
    assert (source.dataset, place) == ("my digits", "data/own/my.npz")
    assert len(archive.x_test) == len(tiny_archive().x_test)
    for number in range(6):
        (path := Path(f"data/own/pets/{number % 2}/{number}.png")).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30 + number, 40), number).save(path)
    assert fetch(sources[1:])[0].x_train.shape[1:] == (64, 64, 3)


def test_the_conversion_in_docs_gives_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/own").mkdir(parents=True)
    arrays = {name: getattr(tiny_archive(), name) for name in MEMBERS}
    np.savez("their.npz", **arrays | {key: arrays[key] / 127.5 - 1 for key in ("x_train", "x_test")})
    (code,) = PYTHON.findall((ROOT / "docs/data.md").read_text())
    exec(code, {"numpy": np})  # noqa: S102
    assert read_archive(Path("data/own/my.npz")).sha256() == tiny_archive().sha256()


@pytest.mark.parametrize("where", CONSOLES.keys() - NOT_RUN.keys())
def test_a_command_in_docs_prints_what_the_page_says(where: str, project: Project) -> None:
    commands = re.split(r"^\$ ", CONSOLES[where], flags=re.MULTILINE)[1:]
    for line, _, output in (command.partition("\n") for command in commands):
        done = project.run(*shlex.split(line, comments=True))
        assert [row.rstrip() for row in done.stdout.splitlines()] == output.splitlines()


def test_only_blocks_that_are_there_are_listed_as_not_run() -> None:
    assert NOT_RUN.keys() < CONSOLES.keys()


def test_the_python_in_docs_reads_and_loads_results(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    (code,) = PYTHON.findall((ROOT / "docs/results.md").read_text())
    names = {}
    exec(code, names)  # noqa: S102
    metrics = json.loads(Path("metrics/cnn.json").read_text())
    assert names["model"].count_params() == metrics["parameters"]
    images, label = np.load("data/prepared/test/images.npy"), np.array(names["recorded"]["label"])
    probabilities = names["model"].predict(images, verbose=0)
    loss = -np.log(probabilities[range(len(label)), label]).mean()
    assert metrics["loss"] == pytest.approx(loss, abs=1e-5), "as evaluate computed it"
    np.testing.assert_allclose(names["recorded"]["probability"][0], probabilities.max(axis=1), atol=1e-5)
    matrix = names["confusion_matrix"](names["recorded"]["label"], names["recorded"]["prediction"][names["seed"]])
    assert matrix.sum() - matrix.trace() == metrics["errors"]
