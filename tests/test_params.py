"""One-line messages for mistakes in params.yaml; and the schema for editors."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from stages.common.errors import PipelineError
from stages.common.params import SCHEMA_PATH, json_schema, load_params
from stages.common.yaml import parse_yaml

from .conftest import ROOT, TUTORIALS

PARAMS = TUTORIALS.read_text()
HIDDEN = "- Dense: {units: 256, activation: relu, kernel_initializer: random_normal}"
MLP = "architectures.mlp_256"
SEEDS, MEMBERS = "seeds: [10, 11, 12]", "members: [mlp_256]"
ENSEMBLE = "ensembles.mlp_256_ensemble"
TRAIN = re.search(r"^train:\n(?:  .*\n)+", PARAMS, re.MULTILINE)[0]

# text in params.yaml, its replacement, the message
MISTAKES = [
    ("epochs: 10", "epoch: 10", f"{MLP}.fit.epoch: unknown key; did you mean 'epochs'?"),
    ("epochs: 10", "epochs: -3", f"{MLP}.fit.epochs: expected a value greater than 0, found -3"),
    ("epochs: 10", "epochs: ten", f'{MLP}.fit.epochs: expected a valid integer, found "ten"'),
    ("epochs: 10, ", "", f"{MLP}.fit.epochs: required key is missing"),
    ("- Flatten", "- Flaten", f"{MLP}.layers[0]: unknown name 'Flaten'; did you mean 'Flatten'?"),
    (HIDDEN, "- Dense", f"{MLP}.layers[1].Dense.units: required key is missing"),
    (HIDDEN, "- Dense: {unit: 3}", f"{MLP}.layers[1].Dense.unit: unknown key; did you mean 'units'?"),
    ("units: 256", "units: many", f"{MLP}.layers[1].Dense.units: expected a positive integer or 'classes'"),
    ("activation: relu", "activation: rell", f"{MLP}.layers[1].Dense.activation: found \"rell\"; did you mean 'relu'?"),
    ("- Flatten", "- 3", f"{MLP}.layers[0]: expected a name or {{name: {{argument: value}}}}, found 3"),
    ("      - Flatten\n", "", f"{MLP}.layers: expected the output shape (None, classes), found (None, ?, ?, ?)"),
    ("activation: softmax, ", "", f"{MLP}.layers[2].Dense.activation: expected softmax"),
    ("optimizer: Adam", "optimizer: Adm", f"{MLP}.compile.optimizer: unknown name 'Adm'; did you mean 'Adam'?"),
    ("\n  mlp_256:", "\n  mlp.256:", "architectures.mlp.256: expected a name of at most 64 letters, digits, _ and -"),
    ("\n  mlp_256:", f"\n  {300 * 'm'}:", f"architectures.{57 * 'm'}...: expected a name of at most 64 letters"),
    ("\n  mlp_256:", "\n  512:", "architectures.512: expected text, found the int 512; put it in quotes"),
    ("\n  mlp_256:", "\n  true:", "architectures.True: expected text, found the bool true; put it in quotes"),
    ("\n  mlp_256:", "\n  2026-11-25:", 'architectures.2026-11-25: expected text, found the date "2026-11-25"'),
    ("\n  mlp_256:", "\n  CNN:", "architectures.cnn: the same file name as 'CNN' on macOS and Windows"),
    ("\n  mlp_256:", "\n  Con:", "architectures.Con: expected a valid file name, found a name that Windows reserves"),
    ("dataset: MNIST", "dataset: 512", "data.sources[0].dataset: expected text, found the int 512; put it in quotes"),
    (SEEDS, "seed: 10", "train.seed: unknown key; did you mean 'seeds'?"),
    (SEEDS, "seeds: 10", "train.seeds: expected a valid list, found 10"),
    (SEEDS, "seeds: []", "train.seeds: expected at least 1 item, found []"),
    (SEEDS, "seeds: [10, true]", "train.seeds[1]: expected a valid integer, found true"),
    (SEEDS, "seeds: [10, 11, 10]", "train.seeds[2]: expected each seed once, found 10 again"),
    (MEMBERS, "members: []", f"{ENSEMBLE}.members: expected at least 1 item, found []"),
    (MEMBERS, "members: [3]", f"{ENSEMBLE}.members[0]: expected an architecture or {{architecture: [seeds]}}, found 3"),
    (MEMBERS, "members: [mlp_257]", f"{ENSEMBLE}.members[0]: no architecture 'mlp_257'; did you mean 'mlp_256'?"),
    (MEMBERS, "members: [{cnn: [13]}]", f"{ENSEMBLE}.members[0].cnn: expected seeds of train.seeds, found 13"),
    (MEMBERS, "members: [{cnn: [true]}]", f"{ENSEMBLE}.members[0].cnn[0]: expected a valid integer, found true"),
    (MEMBERS, "members: [cnn, {cnn: [10]}]", f"{ENSEMBLE}.members[1]: expected each model once, found cnn with seed"),
    ("mlp_256_ensemble:", "cnn:", "ensembles.cnn: expected a name of its own, found that of an architecture"),
    ("mlp_256_ensemble:", "CNN:", "ensembles.CNN: the same file name as 'cnn' on macOS and Windows"),
    ("kernels: portable", "kernels: fast", "train.kernels: found \"fast\"; expected one of native, portable"),
    (TRAIN, "", "train: required key is missing"),
    (TRAIN, "train: 7\n", "train: expected a mapping of keys to values, found 7"),
    ("confidence: 0.95", "confidence: 95", "overview.confidence: expected a value less than 1, found 95"),
    ('sha256: "9', 'sha256: "x', "data.sources[0].sha256: expected text to match pattern"),
    (SEEDS, f"{SEEDS}\n  {SEEDS}", "not valid YAML: line 28, column 3: duplicate key 'seeds'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line"), MISTAKES, ids=[new.strip()[:30] or "nothing" for _, new, _ in MISTAKES]
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, old: str, new: str, line: str) -> None:
    start = PARAMS.index("\narchitectures:") if old not in PARAMS[: PARAMS.index("\narchitectures:")] else 0
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS[:start] + PARAMS[start:].replace(old, new, 1))
    with pytest.raises(PipelineError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


HEAD = "{Dense: {units: classes, activation: softmax}}"
# layers, image shape, classes, the line
SHAPES = [
    ("[Flatten, {Dense: {units: 12, activation: softmax}}]", (28, 28, 1), 10,
     "layers: expected the output shape (None, 10), found (None, 12)"),
    (f"[{{Reshape: {{target_shape: [1, 28, 28]}}}}, Flatten, {HEAD}]", (32, 32, 1), 10,
     "layers[0].Reshape: cannot reshape (32, 32, 1) into (1, 28, 28)"),
    (f"[{{Conv2D: {{filters: 2, kernel_size: 9}}}}, Flatten, {HEAD}]", (8, 8, 1), 10,
     "layers[0].Conv2D: a window of 9 pixels does not fit into 8 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "image", "classes", "line"), SHAPES, ids=[case[0][:20] for case in SHAPES])
def test_shapes_are_checked_against_the_data(
    tmp_path: Path, layers: str, image: tuple[int, ...], classes: int, line: str
) -> None:
    path = tmp_path / "params.yaml"
    head = PARAMS[: PARAMS.index("\nensembles:")]
    one = f"architectures:\n  one:\n    layers: {layers}\n    fit: {{epochs: 1, batch_size: 1}}\n"
    path.write_text(f"{head}\nensembles: {{}}\n{one}")
    params = load_params(path)
    with pytest.raises(PipelineError, match=re.escape(f"params.yaml: architectures.one.{line}")):
        params.check_shapes(image, classes)


def test_an_ensemble_has_all_seeds_of_an_architecture_or_some(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace(MEMBERS, "members: [mlp_256, {cnn: [12, 10]}]", 1))
    models = load_params(path).ensembles["mlp_256_ensemble"].models([10, 11, 12])
    assert models == [("cnn", 10), ("cnn", 12), ("mlp_256", 10), ("mlp_256", 11), ("mlp_256", 12)]


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("optimizer: Adam", "optimizer: {Adam: {learning_rate: 1e-3}}", 1))
    assert load_params(path).architectures["mlp_256"].compile.optimizer.arguments() == {"learning_rate": 0.001}


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"params.yaml: cannot read: No such file"):
        load_params(tmp_path / "params.yaml")


def test_the_checked_in_schema_is_current() -> None:
    assert (ROOT / SCHEMA_PATH).read_text() == json_schema(), "run: make schema"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 10", "epoch: 10"),
        ("- Flatten", "- Flaten"),
        ("units: 256", "units: many"),
        ("rate: 0.5", "rate: 2"),
        (MEMBERS, "members: [{mlp_256: 10}]"),
    ],
)
def test_an_editor_accepts_params_yaml_and_marks_mistakes(old: str, new: str) -> None:
    schema = json.loads((ROOT / SCHEMA_PATH).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for text in (PARAMS, (ROOT / "params.yaml").read_text()):
        jsonschema.validate(parse_yaml(text.encode(), "params.yaml"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parse_yaml(PARAMS.replace(old, new, 1).encode(), "params.yaml"), schema)
