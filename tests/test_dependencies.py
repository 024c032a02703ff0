"""What each stage depends on: the folders of code and pins that decide its output, and no others."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from stages.models import identity
from stages.support.architecture import Architecture, Compile, EarlyStopping, Fit
from stages.support.yaml import read_yaml
from tools.common.definitions import Stage, stages

from .conftest import ROOT, Project

CONTENT = read_yaml(ROOT / "dvc.yaml")
DEFINED = stages(CONTENT, read_yaml(ROOT / "params.yaml"), "dvc.yaml")
STAGES = list(CONTENT["stages"])  # fetch, preprocess, train, evaluate, report
DECIDES_NOTHING = "stages/support"


def example(stage: str) -> Stage:
    """One of the stages of a kind."""
    return next(defined for name, defined in DEFINED.items() if name.partition("@")[0] == stage)


def imported_by(path: Path) -> set[str]:
    """The project's own modules that one of them imports, as paths."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("stages", "tools"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {f"{name.replace('.', '/')}.py" for name in names}
    return {path for path in paths if (ROOT / path).exists()}


def is_in(path: str, places: list[str]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_is_a_dependency_or_decides_nothing(stage: str) -> None:
    places = [dep for dep in example(stage).deps if dep.startswith("stages/")]
    new, seen = {f"stages/{stage}.py"}, set[str]()
    while new:
        seen |= new
        assert all(is_in(path, [*places, DECIDES_NOTHING]) for path in new), new
        new = set().union(*(imported_by(ROOT / path) for path in new if not is_in(path, [DECIDES_NOTHING]))) - seen


def test_the_identity_of_a_training_covers_what_train_depends_on() -> None:
    code = {dep.removeprefix("stages/") for dep in example("train").deps if dep.startswith("stages/")}
    assert code == {*identity.FOLDERS, "train.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_checks_the_versions_that_it_depends_on(stage: str) -> None:
    folders = re.search(r"check_versions\((.*)\)", (ROOT / f"stages/{stage}.py").read_text())[1]
    deps = {dep.removeprefix("stages/") for dep in example(stage).deps if (ROOT / dep / "requirements.txt").is_file()}
    assert set(re.findall(r'"(\w+)"', folders)) == deps


@pytest.mark.parametrize(("name", "stage"), DEFINED.items(), ids=DEFINED)
def test_every_path_of_a_command_is_a_dependency_or_an_output(name: str, stage: Stage) -> None:
    paths = [word for word in shlex.split(stage.cmd)[3:] if "/" in word]
    known = [*stage.deps, *stage.outs]
    assert paths
    for path in paths:  # a folder of which a stage writes some files is named too
        assert is_in(path, known) or any(Path(out).is_relative_to(path) for out in stage.outs), (name, path)
    for dep in stage.deps:
        assert dep.startswith("stages/") or dep in stage.cmd or dep == "data/own", f"{name} does not read {dep}"


IN_CACHE = {"data/raw/mnist.npz", "data/prepared/train", "data/prepared/test", "data/models/${key}"}


def test_large_outputs_are_in_the_cache_small_ones_in_git_and_the_data_set_is_kept() -> None:
    in_git = set()
    for name, stage in CONTENT["stages"].items():
        stage = stage.get("do", stage)
        for out in [*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())]:
            ((path, options),) = out.items() if isinstance(out, dict) else [(out, {})]
            assert options.get("cache", True) == (path in IN_CACHE), path
            assert options.get("persist", False) == (name == "fetch"), path
            in_git |= {path} if path not in IN_CACHE else set()
    assert len(in_git) == 10


def test_dvc_draws_the_tables_of_all_architectures_by_templates_that_are_there() -> None:
    drawn = {path: options for plot in CONTENT["plots"] for path, options in plot.items()}
    assert list(drawn) == ["plots/comparison.csv", "plots/training.csv"]
    for path, options in drawn.items():
        columns = (ROOT / path).read_text().partition("\n")[0].split(",")
        assert {options["x"], options["y"]} <= set(columns)
        assert (ROOT / f".dvc/plots/{options['template']}.json").exists()


READS = {  # sections of params.yaml that the code of a stage reads, by how it does
    "data": r"\bload_params\(\)\.data\b",
    "preprocess": r"\bparams\.preprocess\b",
    "train": r"\bparams\.train\.(?!seeds\b)",
    "train.seeds": r"\bparams\.train\.seeds\b",
    "evaluate": r"\bparams\.evaluate\b",
    "report": r"\bparams\.report\b",
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_param_that_a_stage_reads_is_listed_and_no_other(stage: str) -> None:
    source = (ROOT / f"stages/{stage}.py").read_text()
    read = {key for key, pattern in READS.items() if re.search(pattern, source)}
    listed = {key for key in example(stage).params if not key.startswith("architectures.")}
    assert listed == (read - {"train.seeds"} if "train" in read else read)
    of_architectures = [key for key in example(stage).params if key.startswith("architectures.")]
    assert bool(of_architectures) == (stage in ("train", "evaluate"))


def test_defaults_of_a_recipe_decide_its_bytes() -> None:
    """So they stand in defaults.py, on which train depends, and not in stages/support."""
    fields = [field for part in (Architecture, Compile, EarlyStopping, Fit) for field in part.model_fields.values()]
    defaults = [field.default for field in fields if not field.is_required() and field.default is not None]
    source = ast.parse((ROOT / "stages/models/defaults.py").read_text())
    values = [ast.literal_eval(node.value) for node in source.body if isinstance(node, ast.Assign)]
    names = [str(getattr(value, "name", value)) for value in defaults if not isinstance(value, Compile)]
    assert sorted(names) == sorted(map(str, values))


@pytest.fixture(scope="module")
def edited(built_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the built project, in which files are edited, but nothing is run."""
    return built_project.clone(tmp_path_factory.mktemp("edited") / "project")


EDITS = {
    "stages/support/params.py": set(),
    "stages/common/notes.md": set(),
    "stages/models/__pycache__/building.cpython-311.pyc": set(),
    "stages/common/requirements.txt": set(STAGES),
    "stages/data/download.py": {"fetch", "preprocess"},
    "stages/models/new.py": {"train", "evaluate"},
    "stages/results/pictures.py": {"preprocess", "evaluate", "report"},
    "stages/train.py": {"train"},
}


@pytest.mark.parametrize(("path", "stale"), EDITS.items(), ids=EDITS)
def test_an_edit_makes_stale_the_stages_whose_output_it_may_change(edited: Project, path: str, stale: set[str]) -> None:
    file = edited.path / path
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_bytes((before or b"") + b"# a comment\n")
    status = json.loads(edited.run("dvc", "status", "--json").stdout)
    file.unlink() if before is None else file.write_bytes(before)
    assert {stage.partition("@")[0] for stage in status} == stale
