"""`make preview`: DVC's charts as PNG, without a browser."""

import json
import re

import numpy as np
import vl_convert
from PIL import Image

from tools.plots import page

from .conftest import ROOT, Project


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


def svg(chart: str, x: str, y: str, rows: list[dict]) -> str:
    """A chart of .dvc/plots/ with these rows, as DVC fills it in."""
    text = (ROOT / f".dvc/plots/{chart}.json").read_text().replace('"<DVC_METRIC_DATA>"', json.dumps(rows))
    for key, value in {"X": x, "Y": y, "X_LABEL": x, "Y_LABEL": y, "TITLE": "title"}.items():
        text = text.replace(f"<DVC_METRIC_{key}>", value)
    return vl_convert.vegalite_to_svg(text, vl_version=page.VEGA_LITE)


OF = {"rev": "now", "dataset": "digits"}


def test_the_comparison_has_the_best_above_and_intervals_from_low_to_high() -> None:
    figures = ("b", 0.5, 0.25, 0.75), ("c", 1, 0.875, 1), ("a", 0.75, 0.5, 0.875), ("d", 0.25, "", "")
    rows = [OF | dict(zip(("architecture", "accuracy", "low", "high"), row, strict=True)) for row in figures]
    drawn = svg("comparison", "accuracy", "architecture", rows)
    assert "with 4 values: c, a, b, d" in drawn
    intervals = re.findall(r'"accuracy: ([\d.]+)%; architecture: (\w); high: ([^;]*);', drawn)
    assert intervals == [("25.0", "b", "0.75"), ("87.5", "c", "1"), ("50.0", "a", "0.875")]


def test_the_matrix_is_coloured_by_the_share_of_wrong_images_of_a_label() -> None:
    counts = {(0, 0): 8, (0, 1): 2, (1, 0): 6, (1, 1): 4}
    rows = [OF | {"label": label, "prediction": read, "images": count} for (label, read), count in counts.items()]
    drawn = svg("confusion_counts", "prediction", "label", [*rows, *(row | {"rev": "before"} for row in rows)])
    cells = re.findall(
        r'"prediction: (\d); label: (\d); share of label: ([\d.]+)%".*? d="M(\d+),(\d+)h.*? fill="(.*?)"', drawn
    )
    assert [cell[:5] for cell in cells] == 2 * [  # of each revision, as if it were alone
        *(("0", "0", "0.0", "0", "0"), ("1", "0", "20.0", "180", "0")),  # one row, as it is one label
        *(("0", "1", "60.0", "0", "180"), ("1", "1", "0.0", "180", "180")),
    ]
    assert [cell[5] == "#dfe6ec" for cell in cells] == 2 * [True, False, False, True], "right ones have no share"
    rows = [row | {key: ("cat", "dog")[row[key]] for key in ("label", "prediction")} for row in rows]
    assert svg("confusion_counts", "prediction", "label", rows).count("with 2 values: cat, dog") == 2, "names"


def test_curves_are_of_each_split_and_count_the_seeds_that_are_left() -> None:
    points = ("train", 1, 2, 3), ("train", 2, 1.5, 3), ("train", 3, 1, 1), ("validation", 1, 2.5, 3)
    columns = "split", "epoch", "value", "seeds"
    rows = [OF | {"metric": "loss"} | dict(zip(columns, point, strict=True)) for point in points]
    rows = [row | {"low": row["value"] - 1, "high": row["value"] + 1} for row in rows]
    drawn = svg("history", "epoch", "value", rows)
    for text in ("Title text 'loss on digits'", "epoch: 1; value: 1; high: 3; revision: now; split: train"):
        assert f'"{text}"' in drawn
    assert re.findall(r'"epoch: (\d); value: [\d.]+; revision: now; count: (\d seeds?);', drawn) == [("3", "1 seed")]
    rows += [row | {"metric": "accuracy"} for row in rows]
    training = svg("training", "epoch", "value", [row | {"architecture": "cnn"} for row in rows])
    scales = [chart.count("Y-axis titled") for chart in (svg("history", "epoch", "value", rows), training)]
    assert scales == [2, 4], "loss and accuracy have scales of their own"
    for text in ("Title text 'train loss on digits'", "Title text 'validation loss on digits'"):
        assert f'"{text}"' in training
    assert "legend titled 'architecture' for fill color and stroke color with 1 value: cnn" in training


def test_a_library_that_is_missing_is_one_line(project) -> None:
    (project.path / "vl_convert.py").write_text("raise ModuleNotFoundError")  # found before the installed one
    done = project.run("python", "-m", "tools.plots.preview", check=False)
    assert done.returncode == 1
    assert done.stderr == "error: vl_convert: not installed; run: make preview, which installs it\n"
