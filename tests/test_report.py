"""When the overview is drawn again, and from what."""

from pathlib import Path

from .conftest import Project

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

    with (project.path / "plots/errors/mlp_256.png").open("ab") as picture:
        picture.write(b"another")
    (project.path / "plots/report.html").write_text(text := (project.path / "plots/report.html").read_text() + "edited")
    project.overview()
    assert (project.path / "plots/report.html").read_text() != text

    project.edit(lambda params: params["architectures"].pop("cnn"))
    done = project.run("python", "-m", "tools.overview", "--check", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: plots/comparison.csv: does not match the results in metrics/; run: ")


def test_the_overview_needs_git_alone(built_project: Project, tmp_path: Path) -> None:
    clone = built_project.git_clone(tmp_path / "clone")
    clone.run("python", "-m", "tools.overview", "--check")
    clone.overview()
    assert views(clone) == views(built_project)
