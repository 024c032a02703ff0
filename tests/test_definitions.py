"""dvc.yaml resolved as DVC resolves it."""

import json

import pytest

from stages.support.errors import PipelineError
from stages.support.yaml import parse_yaml
from tools.common.definitions import stages
from tools.common.revision import Revision
from tools.review.stages import stale

from .conftest import Project


def commands(text: str, params: str = "{}") -> dict[str, str]:
    contents = (parse_yaml(part.encode(), "") for part in (text, params))
    return {name: stage.cmd for name, stage in stages(*contents, "dvc.yaml").items()}


def test_what_is_out_of_date_is_what_dvc_status_lists(project: Project) -> None:
    assert stale(Revision("project", None, project.path)) == []
    with (project.path / "stages/report.py").open("a") as stream:
        stream.write("# edited\n")
    project.edit(lambda params: params["report"].update(confused_pairs=4))
    project.edit_json("metrics/cnn.json", lambda metrics: metrics.update(accuracy=1.0))
    (project.path / "plots/samples.png").unlink()
    lines = stale(Revision("project", None, project.path))
    listed = json.loads(project.run("dvc", "status", "--json").stdout)
    assert {name for line in lines for name in line.partition(":")[0].split(", ")} == set(listed)
    assert "preprocess: plots/samples.png deleted" in lines
    assert any("report modified, stages/report.py modified" in line for line in lines)


def test_references_are_filled_in_as_dvc_does() -> None:
    assert commands("stages: {a: {cmd: 'x ${b.c[1]} ${ d }'}}", "{b: {c: [1, 2.5]}, d: true}") == {"a": "x 2.5 true"}
    assert commands("stages: {a: {cmd: '${b.1}'}}", "b: {'1': x}") == {"a": "x"}
    text = "stages: {a: {foreach: '${b}', do: {cmd: '${key} ${item.c}'}}}"
    assert commands(text, "b: {k: {c: 1}, l: {c: x}}") == {"a@k": "k 1", "a@l": "l x"}


def test_git_has_the_outputs_that_the_cache_has_not() -> None:
    text = b"stages: {a: {cmd: x, outs: [p, q: {cache: false}], plots: [r: {cache: true}, s: ]}}"
    stage = stages(parse_yaml(text, ""), {}, "dvc.yaml")["a"]
    assert (stage.outs, stage.in_git) == (["p", "q", "r", "s"], {"q"})


@pytest.mark.parametrize(
    "text",
    [
        "stages: {a: {cmd: x, wdir: y}}",
        "stages: {a: {cmd: '${nowhere}'}}",
        "stages: {a: {cmd: '${list}'}}",
        "stages: {a: {cmd: [x, y]}}",
        "stages: {a: {cmd: x, deps: [{repo: y}]}}",
        "stages: {a: {foreach: 5, do: {cmd: x}}}",
        f"stages: {{a: {{cmd: {'x' * 4001}}}}}",
        "stages: [a]",
        "{}",
    ],
)
def test_what_is_not_known_here_is_one_line(text: str) -> None:
    with pytest.raises(
        PipelineError, match=r"^dvc.yaml: (stages.a: )?(not (a stage as this|stages by)|expected stages, found no)"
    ) as caught:
        commands(text, "{list: [1]}")
    assert "\n" not in str(caught.value)


def test_all_stages_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.common.definitions.MAX_CHARACTERS", 8)
    text = "stages: {a: {cmd: abcd, deps: [ab]}, b: {cmd: x, params: [y]}}"
    assert commands(text) == {"a": "abcd", "b": "x"}
    with pytest.raises(PipelineError, match=r"^dvc.yaml: stages.b: .*expected at most 30,000 stages, found more"):
        commands(text.replace("y]", "yz]"))
