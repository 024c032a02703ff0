"""Which numbers params.yaml takes, and how much memory a training is estimated to need."""

import contextlib
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from stages.support import params, sizes
from stages.support.architecture import Architecture, EarlyStopping, Fit
from stages.support.keras_api import keras_object
from stages.support.notation import Section
from stages.support.sizes import check_sizes

SOURCE = {"dataset": "x", "places": ["y"]}
BOUNDS = [  # what is taken, and what is not
    (params.Data, "sources", [[SOURCE]], [[]]),
    (params.Source, "dataset", ["x"], [""]),
    (params.Source, "places", [["x"]], [[], [""]]),
    (params.Source, "sha256", ["0" * 64], ["0" * 63, "0" * 65, "g" * 64]),
    (params.Source, "class_names", [["a", "b"]], [["a"], ["a", "a"], ["a", ""]]),
    (params.Source, "first_label", [0, 255], [-1, 256]),
    (params.Source, "test_share", [0.001, 0.999], [0, 1]),
    (params.ImageForm, "size", [[1, 1000], [1000, 1]], [[0, 5], [5, 1001], [5], [5, 5, 5]]),
    (params.Preprocess, "pixel_max", [1e-9], [0]),
    (params.Samples, "first", [0], [-1]),
    (params.Samples, "count", [1, 25], [0, 26]),
    (params.Train, "seeds", [[0], [2**32 - 1]], [[], [-1], [2**32]]),
    (params.Evaluate, "batch_size", [1, 100_000], [0, 100_001]),
    (params.Evaluate, "decimals", [1, 9], [0, 10]),
    (params.Report, "confused_pairs", [1], [0]),
    (params.Report, "worst_errors", [1, 100], [0, 101]),
    (params.Report, "kept_errors", [25, 10_000], [0, 26, 10_025]),
    (params.Overview, "confidence", [0.001, 0.999], [0, 1]),
    (params.Published, "accuracy", [{"a": 0}, {"a": 1}], [{"a": -0.1}, {"a": 1.1}]),
    (params.Params, "architectures", [], [{}]),
    (EarlyStopping, "patience", [1], [0]),
    (EarlyStopping, "min_delta", [0], [-0.1]),
    (Fit, "epochs", [1, 1_000_000], [0, 1_000_001]),
    (Fit, "batch_size", [1], [0]),
    (Fit, "validation_split", [0, 0.999], [-0.1, 1]),
    (Fit, "class_weight", [{0: 0}], [{-1: 1}, {0: -1}]),
]


@pytest.mark.parametrize(("section", "key", "taken", "refused"), BOUNDS, ids=[key for _, key, *_ in BOUNDS])
def test_values_within_their_bounds_are_taken(section: type[Section], key: str, taken: list, refused: list) -> None:
    def is_taken(value: Any) -> bool:
        try:
            section.model_validate({key: value})
        except ValidationError as error:  # of this key, or of others, which are missing
            return key not in [item["loc"][0] for item in error.errors()]
        return True

    assert [value for value in taken if not is_taken(value)] == []
    assert [value for value in refused if is_taken(value)] == []


ABSURD = {  # layers, by their place in that of the key
    "Conv2D": {"filters": 2, "kernel_size": 10**12},
    "Add.branches[0][1].RepeatVector": {"branches": [["Flatten", {"RepeatVector": {"n": 10**9}}], []]},
    "Concatenate.branches[0][0].Conv2D": {"branches": [[{"Conv2D": {"filters": 10**100, "kernel_size": 1}}], []]},
}


@pytest.mark.parametrize("where", ABSURD)
def test_absurd_sizes_are_refused_at_once(where: str) -> None:
    head = {"Dense": {"units": "classes", "activation": "softmax"}}
    layers = [{where.split(".")[0]: ABSURD[where]}, "GlobalMaxPooling2D", head]
    absurd = Architecture.model_validate({"layers": layers, "fit": {"epochs": 1, "batch_size": 1}})
    with pytest.raises(PydanticCustomError, match="expected a training that needs at most 64 GiB of memory") as error:
        check_sizes(absurd)
    assert error.value.context["where"] == f"layers[0].{where}"


DENSE = {"Dense": {"units": 5}}
SIZES = [  # layers; of the last one: weights without biases, and pixels and channels made of 12 x 12 pixels with 6
    (["Flatten"], 0, (1, 864)),
    ([DENSE], 30, (144, 5)),
    ([{"Dense": {"units": "classes"}}], 60, (144, 10)),
    ([{"Conv2D": {"filters": 5, "kernel_size": [3, 2]}}], 180, (144, 5)),
    ([{"Conv2D": {"filters": 5, "kernel_size": 3, "strides": 2}}], 270, (36, 5)),
    ([{"Conv1D": {"filters": 5, "kernel_size": 3, "strides": 2}}], 90, (72, 5)),
    ([{"Conv2DTranspose": {"filters": 5, "kernel_size": 3, "strides": 2}}], 270, (576, 5)),
    ([{"DepthwiseConv2D": {"kernel_size": 3, "depth_multiplier": 2}}], 648, (144, 12)),  # Keras: 108 weights
    (["MaxPooling2D"], 0, (36, 6)),
    ([{"AveragePooling2D": {"pool_size": [3, 4]}}], 0, (12, 6)),
    ([{"MaxPooling2D": {"pool_size": 3, "strides": 2}}], 0, (36, 6)),
    ([{"AveragePooling2D": {"pool_size": 13}}], 0, (1, 6)),
    (["GlobalMaxPooling2D"], 0, (1, 6)),
    ([{"AdaptiveMaxPooling2D": {"output_size": [2, 3]}}], 0, (6, 6)),
    (["UpSampling2D"], 0, (576, 6)),
    ([{"UpSampling2D": {"size": [1, 3]}}], 0, (432, 6)),
    ([{"ZeroPadding2D": {"padding": 2}}], 0, (400, 6)),  # Keras: 256 pixels
    ([{"Resizing": {"height": 4, "width": 5}}], 0, (20, 6)),
    ([{"Reshape": {"target_shape": [3, 3, 96]}}], 0, (9, 96)),
    ([{"Reshape": {"target_shape": [-1, 96]}}], 0, (1, 864)),
    (["Flatten", {"RepeatVector": {"n": 4}}], 0, (4, 864)),
    ([{"EinsumDense": {"equation": "abcd,de->abce", "output_shape": [12, 12, 5]}}], 4320, (144, 5)),  # Keras: 30
    ([{"LSTM": {"units": 4}}], 160, (1, 4)),
    ([{"LSTM": {"units": 4, "return_sequences": True}}], 160, (144, 4)),
    ([{"Concatenate": {"branches": [[], [DENSE]]}}], 0, (144, 11)),
    ([{"Add": {"branches": [["Flatten"], [DENSE], ["GlobalMaxPooling2D"]]}}], 0, (1, 864)),
]


@pytest.mark.parametrize(("layers", "weights", "size"), SIZES, ids=[str(layers)[:50] for layers, *_ in SIZES])
def test_a_layer_is_estimated(layers: list, weights: int, size: tuple[int, int]) -> None:
    objects = [keras_object("layer", layer) for layer in layers]
    assert [*sizes._layers(objects, (144, 6), 10, "")][-1][1:] == (weights, size)


@pytest.mark.parametrize(
    ("most", "where"),  # bytes: 8 for each of 7,840 weights, and 4 for each of 794 values of each of the 4 images
    [
        (75_424, None),
        (75_423, "fit.batch_size"),
        (62_720 + 3_176, "fit.batch_size"),
        (62_720 + 3_175, "layers[1].Dense"),
    ],
)
def test_what_needs_more_than_the_memory_is_located(most: int, where: str | None) -> None:
    layers = ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]
    small = Architecture.model_validate({"layers": layers, "fit": {"epochs": 1, "batch_size": 4}})
    with pytest.raises(PydanticCustomError) if where else contextlib.nullcontext() as error:
        check_sizes(small, most=most)
    assert not where or error.value.context["where"] == where
