"""dvc.yaml resolved as DVC resolves it."""

import json

import pytest

from stages.support.errors import PipelineError
from stages.support.yaml import parse_yaml
from tools.common.definitions import Stage, stages
from tools.common.lock import read_lock
from tools.common.revision import Revision
from tools.review.stages import stale

from .conftest import Project


def of(text: str, params: str = "{}") -> dict[str, Stage]:
    return stages(parse_yaml(text.encode(), "dvc.yaml"), parse_yaml(params.encode(), "params.yaml"), "dvc.yaml")


def test_stages_paths_and_digests_are_those_that_dvc_records(seeded: Project) -> None:
    side = Revision("seeded", None, seeded.path)
    found, recorded = stages(side.read_yaml("dvc.yaml"), side.params(), "dvc.yaml"), read_lock(seeded.path / "dvc.lock")
    assert set(found) == set(recorded)
    for name, stage in found.items():
        entry = recorded[name]
        assert stage.cmd == entry["cmd"]
        assert set(stage.params) == set(entry["params"]["params.yaml"])
        assert set(stage.deps) == {each["path"] for each in entry["deps"]}
        assert set(stage.outs) == {each["path"] for each in entry["outs"]}
        for each in [*entry["deps"], *entry["outs"]]:
            assert side.digest(each["path"]) == each["md5"]


def test_what_is_out_of_date_is_what_dvc_status_says(project: Project) -> None:
    with (project.path / "stages/report.py").open("a") as stream:
        stream.write("# edited\n")
    project.edit(lambda params: params["report"].update(confused_pairs=4))
    project.edit_json("metrics/cnn.json", lambda metrics: metrics.update(accuracy=1.0))
    (project.path / "plots/samples.png").unlink()
    said = stale(Revision("project", None, project.path))
    told = json.loads(project.run("dvc", "status", "--json").stdout)
    assert {name for line in said for name in line.partition(":")[0].split(", ")} == set(told)
    assert "preprocess: plots/samples.png deleted" in said
    assert any("report modified, stages/report.py modified" in line for line in said)


@pytest.mark.parametrize(
    ("text", "params", "commands"),
    [
        ("stages: {a: {cmd: 'x ${b.c[1]}'}}", "b: {c: [1, 2.5]}", {"a": "x 2.5"}),
        ("stages: {a: {foreach: [1, b], do: {cmd: 'x ${item}'}}}", "{}", {"a@1": "x 1", "a@b": "x b"}),
        ("stages: {a: {foreach: '${b}', do: {cmd: '${key} ${item.c}'}}}", "b: {k: {c: true}}", {"a@k": "k true"}),
        ("stages: {a: {matrix: {m: [1, 2], n: '${b}'}, cmd: '${item.m}${item.n}'}}", "b: {k: 0}",
         {"a@1-k": "1k", "a@2-k": "2k"}),
    ],
)  # fmt: skip
def test_templates(text: str, params: str, commands: dict[str, str]) -> None:
    assert {name: stage.cmd for name, stage in of(text, params).items()} == commands


@pytest.mark.parametrize(
    "text",
    [
        "stages: {a: {cmd: x, wdir: y}}",
        "stages: {a: {cmd: x, vars: [y.py]}}",
        "stages: {a: {cmd: '${nowhere}'}}",
        "stages: {a: {cmd: [x, y]}}",
        "stages: {a: {deps: [x]}}",
        "stages: {a: {cmd: x, deps: [{repo: y}]}}",
        "stages: {a: {foreach: 5, do: {cmd: x}}}",
        "stages: [a]",
        "{}",
    ],
)
def test_what_is_not_known_here_is_one_line(text: str) -> None:
    with pytest.raises(PipelineError, match=r"^dvc.yaml: stages.*: not understood: ") as caught:
        of(text)
    assert "\n" not in str(caught.value)
