"""A small architecture around each Keras object that params.yaml may name."""

from typing import Any, get_args

from stages.common.prepared import Dataset
from stages.support.keras_api import Kind, definitions

DATASET = Dataset("noise", classes=10, image=(8, 8, 1), count=40)
DENSE = {"Dense": {"units": 6}}
CONV = {"Conv2D": {"filters": 4, "kernel_size": 3}}  # to (6, 6, 4)
HEAD = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
EXAMPLES: dict[str, Any] = {  # values of required arguments, by name
    "activation": "tanh",
    "branches": [[], [{"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}}]],
    "boundaries": [1, 2],
    "dims": [2, 1, 3],
    "target_shape": [12, 12],
    "values": [0.1, 0.01, 0.001],
    "value_range": [0, 1],
    "cropping": 1,
    **dict.fromkeys(("kernel_size", "output_size", "pool_size", "scale", "first_decay_steps"), 2),
    **dict.fromkeys(("filters", "n", "units", "height", "width"), 4),
    **dict.fromkeys(("factor", "stddev", "rate", "decay_rate", "height_factor", "width_factor"), 0.3),
    "initial_learning_rate": 0.01,
}
OWN_EXAMPLES = {
    "EinsumDense": {"equation": "abcd,de->abce", "output_shape": [6, 6, 5]},
    "GroupNormalization": {"groups": 2},
    "RandomColorJitter": {"brightness_factor": 0.5, "contrast_factor": 0.5},  # by default, it changes nothing
    "RandomPosterization": {"factor": 4},
}
COLOUR = {"branches": [[], *([{"Rescaling": {"scale": scale}}] for scale in (0.5, 0.2))]}  # of grey images
# what a layer takes that does not take images, by the end of its name
SHAPES = {"ConvLSTM1D": [6, 6, 4], "ConvLSTM2D": [2, 3, 6, 4], "ConvLSTM3D": [2, 3, 3, 2, 4], "3D": [4, 3, 3, 4]}
SHAPES |= {end: [12, 12] for end in ("1D", "GRU", "LSTM", "SimpleRNN")}


def names() -> list[tuple[Kind, str]]:
    """Every object on offer."""
    return [(kind, name) for kind in get_args(Kind) for name in definitions(kind)]


def example(kind: Kind, name: str) -> dict[str, Any]:
    """A small architecture that uses the object."""
    schema = definitions(kind)[name]
    arguments = dict(OWN_EXAMPLES.get(name, {}))
    arguments |= {key: EXAMPLES[key] for key in schema["required"] if key not in arguments}
    written, layers, compile_ = {name: arguments}, [CONV, "Flatten", DENSE, *HEAD[1:]], {}
    match kind:
        case "layer":
            layers = [*_before(name), written, *HEAD]
        case "activation":
            layers = [{"Conv2D": CONV["Conv2D"] | {"activation": name}}, *HEAD]
        case "initializer" | "regularizer" | "constraint":
            argument = {f"kernel_{kind}": written}
            layers = ["Flatten", {"Dense": {"units": 64} | argument}, *HEAD[1:]]
        case "schedule":
            compile_ = {"optimizer": {"SGD": {"learning_rate": written}}}
        case _:
            compile_ = {kind: written}
    fit = {"epochs": 1, "batch_size": 20}
    return {"layers": layers, "compile": compile_, "fit": fit}


def _before(name: str) -> list[Any]:
    """The layers that make an image of what a layer takes."""
    if name in ("RandomColorDegeneration", "RandomHue", "RandomSaturation"):
        return [{"Concatenate": COLOUR}]
    if name.startswith("Rand") or name in ("AugMix", "AutoContrast", "Equalization", "Solarization"):
        return []  # augmentations take images
    if name == "RepeatVector":
        return [CONV, "Flatten"]
    for end, shape in SHAPES.items():
        if name.removesuffix("Transpose").endswith(end):
            return [CONV, {"Reshape": {"target_shape": shape}}]
    return [CONV]
