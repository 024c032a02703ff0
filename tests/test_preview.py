"""`make preview`: DVC's charts as PNG, without a browser."""

import numpy as np
from PIL import Image

from .conftest import Project


def preview(project: Project, *arguments: str) -> dict[str, np.ndarray]:
    """The pictures by path, grey, after a run of the command."""
    project.run("python", "-m", "tools.plots.preview", *arguments)
    folder = project.path / "preview"
    pictures = {str(path.relative_to(folder)): Image.open(path).convert("L") for path in folder.rglob("*.png")}
    return {name: np.asarray(picture) for name, picture in pictures.items()}


def test_each_chart_becomes_a_picture_of_its_own(project) -> None:
    pictures = preview(project)
    per_architecture = {f"{kind}/{name}.png" for kind in ("history", "confusion") for name in ("cnn", "mlp_256")}
    assert set(pictures) == per_architecture | {"comparison.png", "training.png"}
    for picture in pictures.values():
        assert 600 < picture.shape[1] < 1600
        assert picture.min() < 50 < 250 < picture.max()  # ink on paper
    assert pictures["confusion/cnn.png"].tobytes() != pictures["confusion/mlp_256.png"].tobytes()


def test_with_a_base_only_charts_that_differ_are_drawn_before_and_after(project) -> None:
    alone = preview(project)["confusion/cnn.png"]
    project.edit_json("plots/confusion/cnn.json", lambda rows: rows.pop())
    pictures = preview(project, "HEAD")
    assert set(pictures) == {"confusion/cnn.png"}
    assert pictures["confusion/cnn.png"].shape[1] > 1.5 * alone.shape[1]  # two matrices side by side


def test_a_library_that_is_missing_is_one_line(project) -> None:
    (project.path / "vl_convert.py").write_text("raise ModuleNotFoundError")  # found before the installed one
    done = project.run("python", "-m", "tools.plots.preview", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: vl_convert: not installed; run: make preview, which installs it\n",
    )
