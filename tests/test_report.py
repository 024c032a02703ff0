"""Report and overview where there is little or nothing to tell, and when the overview is drawn again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.data.archive import ArrayDescription, Description
from stages.report import report
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, printable
from stages.support.params import Overview, Report
from tools.overview.drawing import OverviewPage

from .conftest import Project
from .reviews import of_models


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def page_of_a_perfect_model(dataset: str) -> str:
    """The page of one architecture without errors, after its report was written."""
    labels = np.arange(3)
    perfect = replace(of_models(labels, labels, np.ones(3), "perfect", classes=3), dataset=dataset)
    report(perfect, np.zeros((3, 8, 8, 1)), Report(confused_pairs=5, worst_errors=10, kept_errors=25), Path("plots"))

    arrays = {"x_train": ArrayDescription([9, 8, 8], "uint8", ""), "x_test": ArrayDescription([3, 8, 8], "uint8", "")}
    description = Description(dataset, [], "", 3, arrays)
    overview = OverviewPage(description, [perfect], [], Overview(confidence=0.95), 5)
    overview.draw()
    return overview.page(inputs="")


def test_a_perfect_model_has_no_errors_to_show() -> None:
    page = page_of_a_perfect_model("three digits")
    assert "Test accuracy 100.00%: 0 of 3 images wrong." in page
    assert "Most confused:" not in page
    assert "three digits: 1 architecture compared" in page
    assert Path("plots/tables/perfect/errors.csv").read_text() == "index,label,prediction,seeds,probability\n"


def test_the_page_escapes_the_name_of_the_data_set() -> None:
    page = page_of_a_perfect_model("<script>")
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    "dataset", ["Ba$$in digits", r"$\frac{$ {_^ %", "🙂 手写数字", "أرقام عربية", "a\n\tb", "W" * 300]
)
def test_pictures_and_page_show_any_name_of_a_data_set(dataset: str) -> None:
    page = page_of_a_perfect_model(dataset)
    assert f"<h1>{printable(dataset)}: 1 architecture compared</h1>" in page


def test_predictions_that_are_not_there_are_one_line() -> None:
    path, hint = Path("metrics/predictions/cnn.json"), "make it anew with: dvc repro evaluate@cnn"
    with pytest.raises(PipelineError) as caught:
        Predictions.read(path, "cnn", [10])
    assert str(caught.value) == f"{path}: cannot read: No such file or directory; {hint}"


VIEWS = ("comparison.csv", "training.csv", "comparison.png", "training.png", "report.html")


def views(project: Project) -> list[bytes]:
    return [(project.path / "plots" / name).read_bytes() for name in VIEWS]


def test_the_overview_is_drawn_again_only_when_something_changed(project: Project) -> None:
    before = views(project)
    stamps = [(project.path / "plots" / name).stat().st_mtime_ns for name in VIEWS]
    project.overview()
    assert [(project.path / "plots" / name).stat().st_mtime_ns for name in VIEWS] == stamps, "drew it for nothing"

    project.edit(lambda params: params["overview"].update(confidence=0.99))
    project.overview()
    assert "99% interval" in (project.path / "plots/report.html").read_text()

    project.edit(lambda params: params["overview"].update(confidence=0.95))
    (project.path / "plots/training.csv").write_text("a merge left both sides\n")
    project.overview()
    assert "95% interval" in (project.path / "plots/report.html").read_text()
    assert views(project)[:4] == before[:4]

    project.edit_json("metrics/predictions/cnn.json", lambda file: file.update(prediction=[file["label"]]))
    project.overview()
    assert "cnn,1.0," in (project.path / "plots/comparison.csv").read_text()


def test_the_overview_needs_git_alone(built_project: Project, tmp_path: Path) -> None:
    clone = built_project.git_clone(tmp_path / "clone")
    clone.run("python", "-m", "tools.overview", "--check")
    clone.overview()
    assert views(clone) == views(built_project)


def test_a_stale_table_is_told(project: Project) -> None:
    project.edit(lambda params: params["architectures"].pop("cnn"))
    done = project.run("python", "-m", "tools.overview", "--check", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: plots/comparison.csv: does not match the results in metrics/; run: ")
