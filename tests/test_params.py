"""One-line messages for mistakes in params.yaml; and the schema, which editors read too."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from stages.support.errors import PipelineError
from stages.support.keras_api import SCHEMA_PATH
from stages.support.params import load_params, parse_params
from stages.support.yaml import parse_yaml
from tools.plots import page as charts
from tools.schema import __main__ as schema

from .conftest import ROOT, TUTORIALS
from .keras_objects import example, names

PARAMS = TUTORIALS.read_text()
HIDDEN = "- Dense: {units: 256, activation: relu, kernel_initializer: random_normal}"
MLP = "architectures.mlp_256"
SEEDS = "seeds: [10, 11, 12]"
TRAIN = re.search(r"^train:\n(?:  .*\n)+", PARAMS, re.MULTILINE)[0]

# text in params.yaml, its replacement, the message
MISTAKES = [
    ("epochs: 10", "epoch: 10", f"{MLP}.fit.epoch: unknown key; did you mean 'epochs'?"),
    ("epochs: 10", "epochs: -3", f"{MLP}.fit.epochs: expected a value greater than 0, found -3"),
    ("epochs: 10", "epochs: '10'", f"{MLP}.fit.epochs: expected a valid integer, found \"10\""),
    ("pixel_max: 255", "pixel_max: .inf", "preprocess.pixel_max: expected a finite number, found Infinity"),
    ("epochs: 10, ", "", f"{MLP}.fit.epochs: required key is missing"),
    ("- Flatten", "- Flaten", f"{MLP}.layers[0]: unknown name 'Flaten'; did you mean 'Flatten'?"),
    ("- Flatten", "- Zz", f"{MLP}.layers[0]: unknown name 'Zz'; the closest are Resizing, RandomZoom, Solarization\n"),
    (HIDDEN, "- Dense", f"{MLP}.layers[1].Dense.units: required key is missing; expected an integer or 'classes'"),
    ("units: 256", "units: many", f"{MLP}.layers[1].Dense.units: expected an integer or 'classes', found \"many\""),
    ("activation: relu", "activation: rell", f"{MLP}.layers[1].Dense.activation: unknown name 'rell'; did you mean"),
    ("activation: softmax, ", "", f"{MLP}.layers[2].Dense.activation: expected softmax"),
    ("optimizer: Adam", "optimizer: Adm", f"{MLP}.compile.optimizer: unknown name 'Adm'; did you mean 'Adam'?"),
    *(
        (HIDDEN, f"- {layer}", f"{MLP}.layers[1]{line}")
        for layer, line in {
            "Dense: {units: true}": ".Dense.units: expected an integer or 'classes', found true",
            "Dense: {units: 9, use_bias: 1}": ".Dense.use_bias: expected true or false, found 1",
            "Dense: 256": ".Dense: expected a mapping of arguments to values, found 256",
            "Dense: {units: 9, kernel_regularizer: {L3: {l2: 1}}}":
                ".Dense.kernel_regularizer: unknown name 'L3'; expected one of L1, L1L2, L2, OrthogonalRegularizer",
            "Dense: {units: 9, kernel_initializer: {RandomNormal: {stddev: .inf}}}":
                ".Dense.kernel_initializer.RandomNormal.stddev: expected a number, found Infinity",
            "Conv2D: {filters: 3, kernel_size: 3, padding: full}":
                ".Conv2D.padding: found \"full\"; expected one of same, valid",
            "Lambda: {function: f}": ": Lambda is not on offer: it runs code, which is not data",
            "RandomBrightness: {factor: 0.5}":
                ".RandomBrightness.value_range: required key is missing; expected [0, 1]",
            "Add": ".Add.branches: required key is missing",
            "Add: {branches: [[]]}": ".Add.branches: expected two or more lists of layers, [] for the input itself",
        }.items()
    ),
    *(
        ("optimizer: Adam", f"optimizer: {{{optimizer}}}", f"{MLP}.compile.optimizer.{line}")
        for optimizer, line in {
            "Adam: {learning_rate: fast}": "Adam.learning_rate: unknown name 'fast'; expected one of CosineDecay",
            "Adam: {learning_rate: [1]}":
                "Adam.learning_rate: expected a number or the name of a Keras schedule, found [1]",
            "Adam: {learning_rate: {CosineDecay: {initial_learning_rate: 1, warmup_steps: 2 days}}}":
                "Adam.learning_rate.CosineDecay.warmup_steps: expected an integer or text such as '2 epochs'",
            "ScheduleFreeAdamW: {warmup_steps: 1 epoch}": "ScheduleFreeAdamW.warmup_steps: expected a number, found",
        }.items()
    ),
    ("loss: Cat", "loss: SparseCat", f"{MLP}.compile.loss: SparseCategoricalCrossentropy is"),
    ("loss: CategoricalCrossentropy", "loss: Poisson", f"{MLP}.compile.loss.Poisson: the loss Poisson is computed with "
     "approximations that differ between processors; use another, or train.kernels: native"),
    ("200,", "200, class_weight: {8: heavy},", f"{MLP}.fit.class_weight[8]: expected a valid number, found \"heavy\""),
    ("200,", "200, early_stopping: {},", f"{MLP}.fit.early_stopping.patience: required key is missing"),
    ("200, validation_split: 0.2", "200, early_stopping: {patience: 2}",
     f"{MLP}.fit.validation_split: expected a validation_split above 0, as early_stopping monitors val_loss"),
    ("200, validation_split: 0.2", "200, early_stopping: {patience: 2, monitor: val_accuracy}",
     f"{MLP}.fit.validation_split: expected a validation_split above 0, as early_stopping monitors val_accuracy"),
    ("\n  mlp_256:", "\n  mlp.256:", "architectures.mlp.256: expected a name of at most 64 letters, digits, _ and -"),
    ("\n  mlp_256:", "\n  512:", "architectures.512: expected text, found the int 512; put it in quotes"),
    ("\n  mlp_256:", "\n  CNN:", "architectures.cnn: the same file name as 'CNN' on macOS and Windows"),
    ("dataset: MNIST", "dataset: 512", "data.sources[0].dataset: expected text, found the int 512; put it in quotes"),
    (SEEDS, "seed: 10", "train.seed: unknown key; did you mean 'seeds'?"),
    (SEEDS, "seeds: []", "train.seeds: expected at least 1 item, found []"),
    (SEEDS, "seeds: [10, 11, 10]", "train.seeds[2]: expected each value once, found 10 again"),
    *(
        ("kernels: portable", f"kernels: {text}", f"train.kernels: found {shown}; expected one of native, portable")
        for text, shown in {"fast": '"fast"', 58 * "x": f'"{58 * "x"}"', 59 * "x": f'"{56 * "x"}...'}.items()
    ),
    ("units: 256", "units: 1000000000",
     f"{MLP}.layers[1].Dense: expected a training that needs at most 64 GiB of memory, found one of about 5,919 GiB"),
    ("batch_size: 200", "batch_size: 100000000",
     f"{MLP}.fit.batch_size: expected a training that needs at most 64 GiB of memory, found one of about 391 GiB"),
    (SEEDS, f"seeds: {list(range(3000))}", "architectures: expected at most 10,000 models, found 18,000"),
    (TRAIN, "", "train: required key is missing"),
    (TRAIN, "train: 5\n", "train: expected a mapping of keys to values, found 5"),
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
    assert f"{caught.value}\n".startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_probabilities_may_come_from_a_softmax_layer() -> None:
    compiled = "    compile: {optimizer: Adam"
    network = parse_params(PARAMS.replace(compiled, f"      - Softmax\n{compiled}", 1).encode(), "params.yaml")
    assert network.architecture("mlp_256").layers[-1].name == "Softmax"


def test_the_first_mistake_is_shown_and_the_others_are_counted() -> None:
    text = PARAMS.replace("epochs: 10", "epochs: 0", 3).replace("decimals: 6", "decimals: 0")
    with pytest.raises(PipelineError) as caught:
        parse_params(text.encode(), "a.yaml")
    line = "a.yaml: evaluate.decimals: expected a value greater than or equal to 1, found 0 (and 3 more)"
    assert str(caught.value) == line


def test_a_missing_file_and_an_empty_one_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"params.yaml: cannot read: No such file"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(PipelineError, match=r"^a.yaml: the file: expected a mapping of keys to values, found null$"):
        parse_params(b"", "a.yaml")


@pytest.fixture(scope="module")
def editor() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA_PATH.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("module", "path", "content", "command"),
    [
        (charts, "CHARTS_PAGE", "page", "python -m tools.plots.page"),
        (schema, "SCHEMA_PATH", "json_schema", "make schema"),
    ],
)
def test_a_generated_file_is_checked(module, path: str, content: str, command: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, path, tmp_path / "generated")
    monkeypatch.setattr(module, content, lambda: "new")
    (tmp_path / "generated").write_text("old")
    monkeypatch.setattr("sys.argv", ["", "--check"])
    with pytest.raises(SystemExit, match=rf"^error: .*: out of date with .*; run: {command}$"):
        module.main()
    monkeypatch.setattr("sys.argv", [""])
    module.main()
    assert (tmp_path / "generated").read_text() == "new"
    monkeypatch.setattr("sys.argv", ["", "--check"])
    module.main()


def test_an_editor_accepts_params_yaml_and_marks_mistakes(editor: jsonschema.Draft202012Validator) -> None:
    for text in (PARAMS, (ROOT / "params.yaml").read_text()):
        editor.validate(parse_yaml(text.encode(), "params.yaml"))
    for old, new in {
        "epochs: 10": "epoch: 10",
        "- Flatten": "- Flaten",
        "rate: 0.5": "rate: half",
        "optimizer: Adam": "optimizer: {Adam: {learning_rate: {CosineDecoy: {initial_learning_rate: 1}}}}",
    }.items():
        assert not editor.is_valid(parse_yaml(PARAMS.replace(old, new, 1).encode(), "params.yaml"))


@pytest.mark.parametrize("kind", ["layer", "optimizer", "loss"])
def test_an_editor_accepts_what_the_checks_accept(editor: jsonschema.Draft202012Validator, kind: str) -> None:
    content = parse_yaml(PARAMS.encode(), "params.yaml")
    content["architectures"] = {name: example(kind, name) for other, name in names() if other == kind}
    editor.validate(content)
