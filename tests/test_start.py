"""`make start`: a project of one's own pictures, as docs/your-images.md shows it."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stages.common.prepared import Dataset
from stages.data.archive import Archive
from stages.data.folders import Picture
from stages.models.building import build_model
from stages.support.params import load_params
from stages.support.yaml import parse_yaml, read_yaml
from tools.start.recipes import architectures, choose_form

from .conftest import COPIED, ROOT, TUTORIALS, Project, on_terminal, tiny_archive

START = ("python", "-m", "tools.start")
COPIED_TOO = ("Makefile", "requirements.txt", "README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "docs", "tests")
COPIED_TOO += ("params.yaml", "dvc.lock", "metrics", "plots", "data/raw/mnist.json", "research", "CHANGELOG.md")
PICTURES = [".github/comparison.png", ".github/review.png"]
NAMES = ["dense", "cnn", "cnn_augmented"]


@pytest.fixture
def origin(tmp_path: Path) -> Project:
    """This project, in git, without data and models."""
    origin = Project(tmp_path / "origin")
    for name in (*COPIED, *COPIED_TOO, *PICTURES):
        source, to = ROOT / name, origin.path / name
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.npz"))
        elif source.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)
    origin.run("git", "init", "-q")
    origin.commit("MNIST")
    return origin


def draw(folder: Path, count: int = 12) -> Path:
    """Draws colour pictures of two classes, of two sizes."""
    for name, shape in (("disc", ImageDraw.ImageDraw.ellipse), ("box", ImageDraw.ImageDraw.rectangle)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (24 + number % 2, 20), (9 * number, 200, 90))
            shape(ImageDraw.Draw(picture), (5, 5, 15, 12 + number % 5), fill=(250, 9 * number, 30))
            picture.save(folder / name / f"{number}.png")
    return folder


def follow_the_page(origin: Project, clone: Project, pictures: Path) -> dict[str, str]:
    """Runs the lines of docs/your-images.md; returns what they printed, and `params.yaml` as it is at the start."""
    (block,) = re.findall(r"(?s)```sh\n(.*?)```", (ROOT / "docs/your-images.md").read_text())
    lines = [line.partition(" #")[0] for line in block.splitlines()]
    assert len(lines) == 9
    shown = {}
    for words in (shlex.split(command) for line in lines for command in line.split("&&")):
        if words[:2] == ["git", "clone"]:
            origin.git_clone(clone.path.parent / words[3])
        elif words[0] == "cd":
            assert words[1] == clone.path.name
            (clone.path / ".venv").mkdir()
            for name in ("created", "installed"):  # so that make does not install the environment
                (clone.path / ".venv" / name).touch()
        elif words == ["make", "repro"]:
            clone.repro()  # which does the same in less time
            clone.overview()
        else:
            given = [f"DATA={pictures}" if word.startswith("DATA=") else word for word in words]
            shown[" ".join(words[:2])] = clone.run(*given, *["YES=1"] * (words[1] == "start")).stdout
        if words[:2] == ["make", "start"]:
            shown["params.yaml"] = clone.params.read_text()
            short = re.sub(r"epochs: \d+", "epochs: 1", shown["params.yaml"]).replace("[10, 11, 12]", "[10]")
            clone.params.write_text(short)
    return shown


def test_the_lines_of_the_page_give_a_project_of_ones_own(origin: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "my-project")
    shown = follow_the_page(origin, clone, draw(tmp_path / "pets v.1"))
    assert "so params.yaml has image: {size: [20, 24]}\n" in shown["make start"]
    (source,) = parse_yaml(shown["params.yaml"].encode(), "")["data"]["sources"]
    assert source == {"dataset": "pets v.1", "places": ["data/own/pets_v_1"], "image": {"size": [20, 24]}}
    assert {path.stem for path in (clone.path / "metrics").glob("*.json")} == {*NAMES}
    assert all(f"\n{name}: " in "\n" + shown["make review"] for name in NAMES)
    assert "box" in (clone.path / "plots/report.html").read_text()
    assert clone.run("git", "status", "--porcelain").stdout == ""
    (clone.path / PICTURES[0]).write_text("an earlier one")
    clone.run("python", "-m", "tools.overview.readme")
    readme, drawn = (clone.path / "README.md").read_text(), clone.path / "plots/comparison.png"
    assert (clone.path / PICTURES[0]).read_bytes() == drawn.read_bytes()
    assert readme.startswith("# pets v.1\n")
    assert "| `cnn_augmented` |" in readme
    for page in (clone.params, *clone.path.glob("*.md"), *clone.path.glob("docs/*.md")):
        text = page.read_text()
        assert "<!-- MNIST" not in text
        assert text.count("MNIST") <= 5
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page
    kept = re.compile(r"(?s)\npreprocess:.*\n  confidence: [^\n]*\n")
    assert kept.search(shown["params.yaml"])[0] == kept.search((ROOT / "params.yaml").read_text())[0], "with comments"


def test_it_deletes_nothing_before_it_is_sure(origin: Project, tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_text("PK")
    pictures = draw(tmp_path / "pets")

    def refused(data: object, message: str) -> None:
        done = origin.run(*START, str(data), check=False)
        assert done.returncode == 1
        assert re.fullmatch(rf"error: {message}\n", done.stderr.splitlines(keepends=True)[-1])
        assert origin.run("git", "status", "--porcelain", "--ignored").stdout == before

    before = origin.run("git", "status", "--porcelain", "--ignored").stdout
    refused("gone", r"gone: expected a folder of pictures or a \.npz file; run: make start DATA=.*")
    refused(tmp_path / "torn.npz", r".*torn\.npz: not a data set: .*")
    refused(pictures, rf"no terminal to ask on; to delete these, run: make start DATA={pictures} YES=1")
    status, shown = on_terminal(origin, *START, str(pictures), typed="n\n")
    assert (status, shown.endswith("delete these? [y/N] nothing deleted\r\n")) == (0, True)
    shutil.copytree(pictures, origin.path / "data/own/pets")
    before = origin.run("git", "status", "--porcelain", "--ignored").stdout
    refused(pictures, r"data/own/pets: is there already; run: make start DATA=data/own/pets; or delete it first")
    (origin.path / "notes.txt").touch()
    before = origin.run("git", "status", "--porcelain", "--ignored").stdout
    refused(pictures, r"uncommitted changes, such as notes\.txt; commit or stash them; .*")


def test_a_second_start_takes_other_data(origin: Project) -> None:
    digits = tiny_archive()
    arrays = {"x_train": digits.x_train, "y_train": digits.y_train + 1}
    (origin.path / "data/own/sub").mkdir()
    np.savez(origin.path / "data/own/sub/letters.npz", **arrays, x_test=digits.x_test, y_test=digits.y_test + 1)
    ignored = ["data/models/cnn/10.keras", "data/prepared/train/images.npy", ".checkpoints/cnn/10.npz"]
    for name in (*ignored, "elsewhere/kept"):
        (origin.path / name).parent.mkdir(parents=True)
        (origin.path / name).touch()
    (origin.path / "data/raw/mnist.npz").symlink_to(origin.path / "elsewhere/kept")
    (origin.path / ".gitignore").write_text("/elsewhere\n" + (origin.path / ".gitignore").read_text())
    origin.commit("a folder elsewhere")
    shown = origin.run(*START, "--yes", "data/own/sub/letters.npz").stdout
    listed = shown.partition("to delete:\n")[2].partition("next:")[0].split()
    tests = [f"tests/test_{name}.py" for name in ("project", "docs", "research")]
    gone = ["metrics", "plots", "dvc.lock", "data/raw", "data/prepared", "data/models", ".checkpoints", "research"]
    assert listed == [*gone, "CHANGELOG.md", *PICTURES, *tests]
    assert not [name for name in listed if (origin.path / name).exists()]
    deleted = re.findall(r"^ D (\S+)", origin.run("git", "status", "--porcelain").stdout, re.MULTILINE)
    assert all(name.startswith(tuple(listed)) for name in deleted)
    assert (origin.path / "elsewhere/kept").exists()
    (source,) = read_yaml(origin.params)["data"]["sources"]
    assert source == {"dataset": "letters", "places": ["data/own/sub/letters.npz"], "first_label": 1}
    assert list(load_params(origin.params).architectures) == NAMES
    assert "RandomFlip" not in origin.params.read_text()
    first = origin.params.read_text()
    origin.commit("letters")

    draw(origin.path / "data/own/pets v.1")
    origin.run(*START, "--yes", "data/own/pets v.1")
    (source,) = read_yaml(origin.params)["data"]["sources"]
    assert source["places"] == ["data/own/pets v.1"]
    fetched = origin.run("python", "-m", "stages.fetch", "data/raw/mnist.npz", "data/raw/mnist.json")
    assert fetched.stderr == "", "DVC sees changes there"
    shutil.rmtree(origin.path / "data/raw")
    origin.run("git", "restore", ".")
    assert origin.params.read_text() == first


@pytest.mark.parametrize("shape", [(1, 9), (8, 8, 3), (20, 700), (1000, 1000)], ids=str)
def test_the_architectures_suit_images_of_any_size(shape: tuple[int, ...], tmp_path: Path) -> None:
    images, labels = np.zeros((10, *shape), np.uint8), np.arange(10, dtype=np.uint8) // 5
    text = architectures(Archive(images, labels, images, labels))
    assert "validation_split" not in text, "as only the second class is at the end"
    assert ("RandomFlip" in text) == (len(shape) == 3)
    others = TUTORIALS.read_text().partition("architectures:")[0]
    (tmp_path / "params.yaml").write_text(f"{others}architectures:\n{text}")
    for name, architecture in load_params(tmp_path / "params.yaml").architectures.items():
        model = build_model(name, architecture, Dataset("x", 2, (*shape, 1)[:3], count=10))
        assert 10 < model.count_params() < 900_000
        assert model.layers[-3].output.shape[1] <= 8 * 128 * 64


@pytest.mark.parametrize(
    ("count", "fit"),
    [
        (10, "{epochs: 40, batch_size: 32, validation_split: 0.2}"),
        (3_000, "{epochs: 20, batch_size: 32, validation_split: 0.2}"),
        (10_000, "{epochs: 6, batch_size: 128, validation_split: 0.2}"),
        (60_000, "{epochs: 5, batch_size: 128, validation_split: 0.2}"),
    ],
)
def test_a_training_sees_about_as_many_images_of_any_data(count: int, fit: str) -> None:
    images, labels = np.zeros((count, 1, 1), np.uint8), np.arange(count, dtype=np.uint8) % 2
    assert architectures(Archive(images, labels, images, labels)).count(f"    fit: {fit}\n") == 3


@pytest.mark.parametrize(
    ("shape", "filters"), [((28, 28), "16 32"), ((300, 600), "16 32 64"), ((300, 300), "16 32 64 64")]
)
def test_convolutions_halve_the_shorter_side_to_eight_pixels(shape: tuple[int, int], filters: str) -> None:
    images, labels = np.zeros((10, *shape), np.uint8), np.arange(10, dtype=np.uint8) % 2
    text = architectures(Archive(images, labels, images, labels))
    assert re.findall(r"filters: (\d+)", text) == filters.split() * 2
    assert text.count("MaxPooling2D: {pool_size: 2}") == 2 * len(filters.split())
    assert "fill_mode: constant" in text


FORMS = {
    "alike": ([(20, 30, "L")] * 3, {}),
    "sizes": ([(20, 30, "L"), (40, 60, "L"), (40, 61, "L")], {"size": [40, 60]}),
    "large sizes": ([(200, 300, "RGB"), (400, 600, "RGB"), (410, 600, "RGB")], {"size": [43, 64]}),
    "colours": ([(20, 30, "L"), (20, 30, "L"), (20, 30, "RGB")], {"mode": "RGB"}),
    "large": ([(512, 128, "L")] * 3, {"size": [64, 16]}),
}


@pytest.mark.parametrize("name", FORMS)
def test_pictures_that_differ_or_are_large_get_a_form(name: str) -> None:
    sizes, form = FORMS[name]
    pictures = [Picture(Path("x"), "a", "", (height, width), mode) for height, width, mode in sizes]
    assert choose_form(pictures) == ({"image": form} if form else {})
