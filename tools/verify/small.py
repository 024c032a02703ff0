"""The small configuration that `make verify` runs: few digits, one epoch, one seed, few architectures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.data.archive import Archive, write_archive
from stages.data.offline import embedded_digits
from stages.data.places import OWN
from stages.support.params import PARAMS_PATH, Params, load_params
from stages.support.yaml import parse_yaml, read_yaml, to_yaml

DIGITS_PATH = str(OWN / "digits.npz")
TRAIN, TEST = 240, 60  # images; an emulated processor trains some hundred times slower
MIXED = "mixed"
MIXTURE = """\
layers:
  - RandomRotation: {factor: 0.03, fill_mode: constant}
  - RandomTranslation: {height_factor: 0.1, width_factor: 0.1, fill_mode: constant}
  - Conv2D: {filters: 8, kernel_size: 3, activation: gelu, kernel_initializer: orthogonal}
  - BatchNormalization
  - MaxPooling2D
  - Conv2D: {filters: 16, kernel_size: 3, strides: 2, padding: same, use_bias: false, kernel_regularizer: L2}
  - Activation: {activation: relu}
  - LayerNormalization
  - AveragePooling2D: {pool_size: 2}
  - Add: {branches: [[], [{Activation: {activation: silu}}]]}
  - Flatten
  - Dropout: {rate: 0.1}
  - Dense: {units: classes, activation: softmax, kernel_initializer: random_normal}
compile:
  optimizer:
    AdamW:
      learning_rate: {CosineDecay: {initial_learning_rate: 0.0, warmup_target: 0.01, warmup_steps: 0.2 epochs}}
      use_ema: true
  loss: {CategoricalCrossentropy: {label_smoothing: 0.05}}
fit: {epochs: 1, batch_size: 50, validation_split: 0.2}
"""


def representative(params: Params) -> list[str]:
    """Chooses a few architectures that together use every kind of Keras object in params.yaml."""
    kinds = {
        name: {item.name for _, item in architecture.objects()} for name, architecture in params.architectures.items()
    }
    chosen: list[str] = []
    missing = set().union(*kinds.values())
    while missing:
        chosen.append(max(kinds, key=lambda name: len(kinds[name] & missing)))
        missing -= kinds[chosen[-1]]
    return chosen


def mixed() -> dict[str, Any]:
    """Returns a small architecture with what recipes are made of; research/operations has all of Keras."""
    return parse_yaml(MIXTURE.encode(), MIXED)


def make_small(folder: Path, targets: Sequence[str]) -> None:
    """Edits a project's params.yaml: few digits, one epoch and seed, the named architectures or a few."""
    params, content = load_params(folder / PARAMS_PATH), read_yaml(folder / PARAMS_PATH)
    content["data"]["sources"] = [{"dataset": "scikit-learn digits", "places": [DIGITS_PATH]}]
    content["train"]["seeds"] = params.train.seeds[:1]
    architectures = content["architectures"]
    named = {target.partition("@")[2] for target in targets} & set(architectures)
    for name in set(architectures) - (named or set(representative(params))):
        del architectures[name]
    for architecture in architectures.values():
        architecture["fit"]["epochs"] = 1
    architectures[MIXED] = mixed()
    (folder / PARAMS_PATH).write_text(to_yaml(content))
    digits = embedded_digits()
    few = Archive(digits.x_train[:TRAIN], digits.y_train[:TRAIN], digits.x_test[:TEST], digits.y_test[:TEST])
    write_archive(folder / DIGITS_PATH, few)
