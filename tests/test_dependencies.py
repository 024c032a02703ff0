"""What each stage depends on: modules and library versions that decide its bytes, and no others."""

import ast
import functools
import json
import re

import pytest

from stages.common.architecture import Architecture, Compile, EarlyStopping, Fit
from stages.common.yaml import read_yaml

from .conftest import ROOT, Project
from .faults import outputs

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
# Modules that stages import, but that no stage depends on, as an edit changes no byte of a result
DECIDE_NOTHING = {
    "stages/__init__.py": "calls kernels.py",
    "stages/common/__init__.py": "empty",
    "stages/common/architecture.py": "checks; its defaults stand in defaults.py",
    "stages/common/checkpoint.py": "a resumed training gives the same bytes (test_checkpoint.py)",
    "stages/common/errors.py": "messages and exit statuses",
    "stages/common/json.py": "reads what json reads, or raises",
    "stages/common/keras_api.py": "checks; Keras gets what params.yaml says, which DVC records",
    "stages/common/notation.py": "checks and messages",
    "stages/common/params.py": "checks",
    "stages/common/resources.py": "checks; how many trainings run side by side changes none",
    "stages/common/sizes.py": "checks",
    "stages/common/versions.py": "checks",
    "stages/common/yaml.py": "reads what DVC reads (test_yaml.py), and DVC records the values",
}


@functools.cache
def imported_by(path: str) -> set[str]:
    """The project's own modules that one of them imports itself."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("stages", "tools"):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                base = ROOT / name.replace(".", "/")
                files = (base.with_suffix(".py"), base / "__init__.py")
                found |= {str(file.relative_to(ROOT)) for file in files if file.exists()}
    return found


def imported_modules(path: str) -> set[str]:
    """The project's own modules that one of them imports, itself among them, however deep."""
    found, new = {path}, {path}
    while new:
        new = set().union(*map(imported_by, new)) - found
        found |= new
    return found


def definition(stage: str) -> dict:
    return STAGES[stage].get("do", STAGES[stage])


def module(stage: str) -> str:
    """The module that a stage runs: that of `ensemble` is report's."""
    return re.search(r"python -m (stages\.\w+)", definition(stage)["cmd"])[1].replace(".", "/") + ".py"


def dependencies(stage: str) -> set[str]:
    return {dep for dep in definition(stage)["deps"] if dep.startswith("stages/")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_modules_that_decide_its_bytes(stage: str) -> None:
    deciding = imported_modules(module(stage)) - set(DECIDE_NOTHING)
    if stage != "train":  # only there are recipes followed
        deciding -= {"stages/common/defaults.py"}
    assert {dep for dep in dependencies(stage) if dep.endswith(".py")} == deciding


def test_every_module_that_decides_nothing_is_imported_by_a_stage() -> None:
    assert set(DECIDE_NOTHING) - {"stages/__init__.py", "stages/common/__init__.py"} <= set().union(
        *(imported_modules(module(stage)) for stage in STAGES)
    )


def test_stages_import_no_other_stage_and_no_tool() -> None:
    for stage in STAGES:
        imported = imported_modules(module(stage)) - {module(stage), "stages/__init__.py"}
        assert all(path.startswith("stages/common/") for path in imported)


def test_a_tool_imports_its_own_folder_and_the_common_one() -> None:
    for path in ROOT.glob("tools/*/**/*.py"):
        name = str(path.relative_to(ROOT))
        folder = path.relative_to(ROOT / "tools").parts[0]
        tools = {each.split("/")[1] for each in imported_modules(name) if each.startswith("tools/")}
        assert tools - {"__init__.py"} <= {folder, "common"}, name


def test_no_two_modules_import_one_another() -> None:
    modules = [str(path.relative_to(ROOT)) for folder in ("stages", "tools") for path in (ROOT / folder).rglob("*.py")]
    imported = {name: imported_modules(name) - {name} for name in modules}
    assert not [(one, other) for one in modules for other in imported[one] if one in imported.get(other, ())]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_versions_that_it_checks(stage: str) -> None:
    checked = re.search(r"check_versions\((.*)\)", (ROOT / module(stage)).read_text())[1]
    listed = {dep for dep in dependencies(stage) if dep.startswith("stages/requirements/")}
    assert listed == {f"stages/requirements/{name}.txt" for name in re.findall(r'"(\w+)"', checked)}


def test_defaults_of_a_recipe_decide_its_bytes() -> None:
    """So they stand in defaults.py, on which train depends, and not in params.py."""
    sections = (Architecture, Compile, EarlyStopping, Fit)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    found = {name: field.default for name, field in fields.items() if not field.is_required()}
    found = {name: value for name, value in found.items() if value is not None}
    source = ast.parse((ROOT / "stages/common/defaults.py").read_text())
    values = [ast.literal_eval(node.value) for node in source.body if isinstance(node, ast.Assign)]
    del found["compile"]
    assert sorted(str(getattr(value, "name", value)) for value in found.values()) == sorted(map(str, values))


@pytest.fixture(scope="module")
def edited(seeded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with an ensemble, in which files are edited, but nothing is run."""
    return seeded.clone(tmp_path_factory.mktemp("edited") / "project")


EVERY = {"fetch", "preprocess", "train", "evaluate", "report", "ensemble"}
REPORTS = {"report", "ensemble"}


@pytest.mark.parametrize(
    ("path", "stale"),
    [
        *((path, set()) for path in DECIDE_NOTHING),
        ("stages/common/archive.py", EVERY - {"train"}),
        ("stages/common/files.py", EVERY),
        ("stages/common/prepared.py", EVERY - {"fetch"}),
        ("stages/common/evaluation.py", {"evaluate"} | REPORTS),
        ("stages/common/tables.py", REPORTS),
        ("stages/common/models.py", {"train", "evaluate"}),
        ("stages/common/building.py", {"train", "evaluate"}),
        ("stages/common/defaults.py", {"train"}),
        ("stages/requirements/keras.txt", {"train", "evaluate"}),
        ("stages/requirements/numpy.txt", EVERY),
        ("stages/requirements/pictures.txt", {"fetch", "preprocess"} | REPORTS),
        ("stages/requirements/tables.txt", {"fetch", "evaluate"} | REPORTS),
    ],
)
def test_an_edit_makes_stale_the_stages_whose_bytes_it_may_change(edited: Project, path: str, stale: set[str]) -> None:
    before = (edited.path / path).read_bytes()
    (edited.path / path).write_bytes(before + b"# a comment\n")
    found = json.loads(edited.run("dvc", "status", "--json").stdout)
    (edited.path / path).write_bytes(before)
    assert {stage.partition("@")[0] for stage in found} == stale


def test_a_stage_refuses_other_versions_of_its_libraries(project: Project) -> None:
    pins = project.path / "stages/requirements/numpy.txt"
    pins.write_text(re.sub(r"numpy==\S+", "numpy==1.0", pins.read_text()))
    before = outputs(project)
    done = project.run("dvc", "repro", check=False)
    assert done.returncode
    assert "error: stages/requirements/numpy.txt: expected numpy 1.0, found 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert outputs(project) == before
