"""`make reproduce`: finds results that a commit's own params and code do not give, and confirms those that they do."""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from stages.support.errors import PipelineError
from stages.support.versions import pins
from tools.common.revision import Revision
from tools.common.surroundings import Run
from tools.repro.plan import Plan
from tools.reproduce.__main__ import NOT_REPRODUCED, check_environment, checked_out, main, select

from .conftest import Project
from .reviews import pages, printed_by, review

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of what DVC imports

BOTH = ["mlp_256", "cnn"]


reproduce = partial(printed_by, "tools.reproduce")


def of_each(printed: str) -> dict[str, str]:
    """What was printed of each architecture, and of the data set."""
    return dict(line.split(": ", 1) for line in printed.splitlines() if "reproduced" in line)


def test_an_honest_commit_is_reproduced_by_a_stranger(reviewer: Project) -> None:
    before = reviewer.run("git", "status", "--porcelain", "--ignored").stdout
    names = ["data set", "mlp_256", "softmax"]
    assert of_each(reproduce(reviewer, "--base", "HEAD~1")) == dict.fromkeys(names, "reproduced byte for byte")
    assert reviewer.run("git", "status", "--porcelain", "--ignored").stdout == f"{before}!! review/\n"

    assert review(reviewer, "HEAD~1", "HEAD").count(", reproduced\n") == 2
    markdown, html = pages(reviewer)
    assert "| verdict | run again |" in markdown
    assert markdown.count("| reproduced |") == html.count(">reproduced</td>") == 2
    assert "reproduced" not in review(reviewer, "HEAD~1", "HEAD~1"), "it is another commit that was run again"


def test_a_number_edited_by_hand_and_a_model_trained_with_other_code_show(project: Project) -> None:
    module = project.path / "stages/models/training.py"
    honest = module.read_text()
    module.write_text(honest.replace("images[:train], labels[:train]", "images, labels", 1))  # and the held-out ones
    assert module.read_text() != honest
    project.run("dvc", "repro", "--quiet", "report@mlp_256")
    module.write_text(honest)
    project.run("dvc", "commit", "--force", "--quiet")
    project.commit("a better model")
    assert project.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    project.edit_json("metrics/cnn.json", lambda metrics: metrics.update(accuracy=0.999))
    project.commit("a better number, beside an honest dvc.lock")
    differs = of_each(reproduce(project, "--base", "HEAD~2", status=NOT_REPRODUCED))
    edited = "NOT reproduced: differs in metrics/cnn.json; predictions: same bytes; accuracy: recorded 0.999, "
    assert differs["cnn"].startswith(edited)
    assert differs["mlp_256"].startswith("NOT reproduced: differs in ")
    assert "data/models/mlp_256, " in differs["mlp_256"]
    assert re.search(r" and \d more; other models with seeds 10; predictions: ", differs["mlp_256"])

    printed = review(project, "HEAD~2", "HEAD")
    assert "cnn: NOT reproduced: differs in metrics/cnn.json; " in printed
    for page in pages(project):
        assert "NOT reproduced: differs in metrics/cnn.json" in page


def append(path: str) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        with (project.path / path).open("a") as stream:
            stream.write("# an edit\n")

    return edit


def params(section: str, **values: object) -> Callable[[Project], None]:
    return lambda project: project.edit(lambda params: params[section].update(values))


def units(project: Project) -> None:
    project.edit(lambda params: params["architectures"]["mlp_256"]["layers"][1]["Dense"].update(units=9))


def result(project: Project) -> None:
    project.edit_json("metrics/predictions/cnn.json", lambda file: file.update(prediction=[file["label"]]))


def forge(stage: str) -> Callable[[Project], None]:
    """Edits the first digest of a stage in dvc.lock."""

    def edit(project: Project) -> None:
        lock = project.path / "dvc.lock"
        start, entry = lock.read_text().split(f"  {stage}:", 1)
        lock.write_text(f"{start}  {stage}:{entry.replace('md5: ', 'md5: 0', 1)}")

    return edit


EDITS: dict[str, tuple[Callable[[Project], None], list[str]]] = {
    "an architecture": (units, ["mlp_256"]),
    "code of all stages": (append("stages/data/archive.py"), BOTH),
    "code of trainings": (append("stages/models/training.py"), BOTH),
    "the seeds": (params("train", seeds=[11]), BOTH),
    "code that decides no result": (append("stages/support/errors.py"), []),
    "the overview": (params("overview", confidence=0.9), []),
}
BY_HAND = {
    "a result": (result, ["cnn"]),
    "an entry in dvc.lock": (forge("train@cnn"), ["cnn"]),
    "the entry of a shared stage": (forge("preprocess"), BOTH),
}


@pytest.mark.parametrize("edited", [*EDITS, *BY_HAND])
def test_a_base_selects_what_make_repro_selects_and_what_was_edited(project, tmp_path, monkeypatch, edited) -> None:
    edit, expected = (EDITS | BY_HAND)[edited]
    edit(project)
    project.commit("an edit, without make repro")
    assert selected(project, monkeypatch) == expected
    if edited in EDITS:
        monkeypatch.chdir(project.git_clone(tmp_path / "clone").path)
        outdated = Plan.read([], allow_missing=True).outdated
        assert {stage.partition("@")[2] for stage in outdated if "@" in stage} == set(expected)


def selected(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures that `make reproduce BASE=HEAD~1` runs."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", project.environment["DVC_SITE_CACHE_DIR"])
    head = Revision.find("HEAD")
    with checked_out(head) as run:
        return select(run, Revision.find("HEAD~1"), head)


def test_a_commit_that_changes_no_result_needs_no_rerun(project: Project) -> None:
    (project.path / "NOTES").write_text("a note")
    project.commit("a note")
    project.run("git", "checkout", "-qb", "other", "HEAD~1")
    forge("train@cnn")(project)
    project.commit("another's model, which is not this commit's change")
    project.run("git", "checkout", "-q", "-")
    branched = project.run("git", "rev-parse", "--short=7", "HEAD~1").stdout.strip()
    for base in "HEAD~1", "other":
        line = rf"nothing to run: HEAD \(\w{{7}}\) changes no .* since it branched from {base} \({branched}\)\n"
        assert re.fullmatch(line, reproduce(project, "--base", base))


@pytest.mark.parametrize(("given", "options"), [([], []), (["--jobs", "2"], ["--jobs", "2"])])
def test_the_rerun_has_as_many_jobs(project: Project, monkeypatch, given: list[str], options: list[str]) -> None:
    commands: list[list[str]] = []

    def execute(run: Run, command: Sequence[str]) -> None:
        commands.append(list(command))
        shutil.copytree("data/raw", run.project / "data/raw", dirs_exist_ok=True)

    monkeypatch.chdir(project.path)
    monkeypatch.setattr(Run, "execute", execute)
    monkeypatch.setattr(sys, "argv", ["reproduce", *given])
    main()
    assert commands == [
        ["dvc", "repro", "fetch"],
        ["python", "-m", "tools.repro", *options, "preprocess", "report@mlp_256", "report@cnn"],
    ]


def test_a_data_set_that_is_gone_is_named_where_it_should_be(project: Project, tmp_path: Path, monkeypatch) -> None:
    project.edit(lambda params: params["data"]["sources"][0].update(places=["keras:gone.npz", "gone/digits.npz"]))
    project.commit("another place")
    (tmp_path / "TMPDIR").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "TMPDIR"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    output = reproduce(project, status=1)
    assert f"{tmp_path}/keras/datasets/gone.npz: no such file; gone/digits.npz: no such file" in output
    assert output.endswith("error: the rerun: dvc repro fetch: failed with exit status 255; see above\n")
    assert str(tmp_path / "TMPDIR") not in output
    assert not any((tmp_path / "TMPDIR").iterdir())


def leave(project: Project) -> None:
    lock = project.path / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: metrics/cnn.json", "path: ../cnn.json"))


def old_pins(project: Project) -> None:
    (project.path / "stages/models/requirements.txt").write_text("tensorflow==1.0\n")


def other_data(project: Project) -> None:
    project.run("git", "rm", "-q", "--cached", "data/own/digits.npz")  # it is read though git does not have it
    project.edit_json("data/raw/mnist.json", lambda description: description.update(dataset="MNIST", sha256="f" * 64))


@pytest.mark.parametrize("folder", ["common", "data", "models", "results"])
def test_all_versions_that_decide_bytes_are_checked(folder: str, tmp_path: Path) -> None:
    (tmp_path / pins(folder)).parent.mkdir(parents=True)
    (tmp_path / pins(folder)).write_text("numpy==1.0\n")
    with pytest.raises(PipelineError, match=f"^{pins(folder)} in a folder: expected numpy 1.0, found "):
        check_environment(Revision("a folder", None, tmp_path))


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (other_data, "data/raw/mnist.json: recorded with MNIST, but found tiny digits; put the data set at a place "),
        (old_pins, r"stages/models/requirements.txt in HEAD \(\w{7}\): expected tensorflow 1.0, found "),
        (leave, r"dvc.lock in HEAD \(\w{7}\): expected outputs in the project's folder, found ../cnn.json\n"),
    ],
)
def test_what_cannot_be_rerun_is_one_line(project: Project, edit, line: str) -> None:
    edit(project)
    project.commit("an edit")
    printed = reproduce(project, status=1)
    assert re.match(f"error: {line}", printed)
    assert printed.count("\n") == 1
