"""The small configuration that `make verify` runs: few digits, one epoch, one seed, and every kind of layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.common.arrays import Archive, write_archive
from stages.common.offline import embedded_digits
from stages.common.params import PARAMS_PATH, Params, load_params
from stages.common.yaml import parse_yaml, read_yaml
from tools.common.lock import owner

DIGITS = "digits.npz"
TRAIN, TEST = 240, 60  # images; an emulated processor trains some hundred times slower
EVERY_LAYER, EVERY_MODEL = "every_layer", "every_model"
LAYERS_ON_OFFER = """\
layers:
  - Conv2D: {filters: 8, kernel_size: 3, activation: gelu, kernel_initializer: orthogonal}
  - BatchNormalization
  - MaxPooling2D
  - SpatialDropout2D: {rate: 0.1}
  - Conv2D: {filters: 16, kernel_size: 3, strides: 2, padding: same, kernel_initializer: he_normal}
  - Activation: {activation: silu}
  - AveragePooling2D: {pool_size: 2}
  - Flatten
  - Dense: {units: 64, activation: elu, kernel_initializer: orthogonal}
  - BatchNormalization
  - Reshape: {target_shape: [2, 2, 16]}
  - GlobalMaxPooling2D
  - Dropout: {rate: 0.1}
  - Reshape: {target_shape: [4, 1, 4]}
  - Conv2D: {filters: 32, kernel_size: 1, activation: selu}
  - GlobalAveragePooling2D
  - Dense: {units: classes, activation: softmax, kernel_initializer: random_normal}
fit: {epochs: 1, batch_size: 50, validation_split: 0.2}
"""


def representative(params: Params) -> list[str]:
    """Chooses a few architectures that together use every kind of layer in params.yaml."""
    kinds = {name: {layer.name for layer in each.layers} for name, each in params.architectures.items()}
    chosen: list[str] = []
    missing = set().union(*kinds.values())
    while missing:
        chosen.append(max(kinds, key=lambda name: len(kinds[name] & missing)))
        missing -= kinds[chosen[-1]]
    return chosen


def every_layer() -> dict[str, Any]:
    """Returns a small architecture with every kind of layer that params.yaml may have."""
    return parse_yaml(LAYERS_ON_OFFER.encode(), EVERY_LAYER)


def make_small(folder: Path, targets: Sequence[str]) -> None:
    """Edits a project's params.yaml: few digits, one epoch, one seed, the architectures that the targets name or a few.

    Keeps the ensembles whose members it keeps, and adds one of all that it keeps.
    """
    path = folder / PARAMS_PATH
    params = load_params(path)
    seeds = params.train.seeds[:1]
    members = {name: sorted(dict(each.models(seeds))) for name, each in params.ensembles.items()}
    named = {owner(target, params.architectures) for target in targets}
    named |= {member for name in named & set(members) for member in members[name]}
    content = read_yaml(path)
    content["data"]["sources"] = [{"dataset": "scikit-learn digits", "places": [DIGITS]}]
    content["train"]["seeds"] = seeds
    architectures = content["architectures"]
    for name in set(architectures) - (named & set(architectures) or set(representative(params))):
        del architectures[name]
    for architecture in architectures.values():
        architecture["fit"]["epochs"] = 1
    architectures[EVERY_LAYER] = every_layer()
    content["ensembles"] = {
        name: {"members": each} for name, each in members.items() if set(each) <= set(architectures)
    }
    content["ensembles"][EVERY_MODEL] = {"members": list(architectures)}
    path.write_text(yaml.safe_dump(content))
    digits = embedded_digits()
    few = Archive(digits.x_train[:TRAIN], digits.y_train[:TRAIN], digits.x_test[:TEST], digits.y_test[:TEST])
    write_archive(folder / DIGITS, few)
