"""Stage 3: trains one architecture, once with each seed.

Writes a folder: for each seed the model and the history of its training; a summary of the model as text; and the
identities of the trainings, by which later runs find models that need not be trained again.
"""

import argparse
import functools
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic_core import PydanticCustomError

from stages.common.files import replacing, write_json
from stages.common.kernels import why_not_portable
from stages.common.prepared import IMAGES, Dataset
from stages.models.building import train_count
from stages.models.identity import identities
from stages.models.models import import_keras
from stages.models.training import SUMMARY, Recipe
from stages.support.architecture import Architecture
from stages.support.dvc_cache import TRAIN_ANEW, Cache, recorded
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, load_params, mistake
from stages.support.paths import output_path
from stages.support.progress import TrainingBars, finish
from stages.support.resources import cluster_address, total_memory, trainings_at_once
from stages.support.sizes import MOST, check_sizes
from stages.support.versions import check_versions
from stages.support.workers import EndEpoch, train_side_by_side
from stages.support.yaml import read_yaml, to_yaml

IDENTITIES = "identities.json"  # of the trainings, by seed, in the folder with the models


def check_fit(name: str, architecture: Architecture, dataset: Dataset) -> None:
    """Raises `PipelineError` if a training does not fit the data, or the memory of this machine."""
    fit, key = architecture.fit, f"architectures.{name}.fit"
    if fit.validation_split and train_count(dataset.count, fit) in (0, dataset.count):
        split = f"{fit.validation_split} of {dataset.count} images"
        raise mistake(f"{key}.validation_split", "to leave images on both sides", split)
    for label in fit.class_weight or ():
        if label >= dataset.classes:
            raise mistake(f"{key}.class_weight", f"classes from 0 to {dataset.classes - 1}", label)
    try:
        check_sizes(architecture, dataset.image, dataset.classes, min(MOST, total_memory()))
    except PydanticCustomError as error:
        context = error.context or {}
        raise PipelineError(f"{PARAMS_PATH}: architectures.{name}.{context['where']}: {context['message']}") from error


def take_over(recipe: Recipe, wanted: dict[int, str]) -> set[int]:
    """Copies what the last recorded run has of the same trainings from DVC's cache; returns their seeds.

    Args:
        recipe: of the trainings.
        wanted: the identities of the trainings, by seed.
    """
    md5 = recorded(recipe.output)
    if os.environ.get(TRAIN_ANEW) == "1" or not md5:
        return set()
    cache = Cache()
    files = cache.listing(md5)
    try:
        kept = json.loads(cache.read(files.get(IDENTITIES, "")) or b"{}")
        same = [seed for seed, identity in wanted.items() if kept.get(str(seed)) == identity]
    except (ValueError, AttributeError):
        return set()
    return {seed for seed in same if _copy(cache, files, [*recipe.files(seed), SUMMARY], recipe.output)}


def _copy(cache: Cache, files: dict[str, str], names: list[str], folder: Path) -> bool:
    """Copies files from the cache, all of them or none; returns whether they were there and intact."""
    contents = {name: content for name in names if (content := cache.read(files.get(name, ""))) is not None}
    if len(contents) < len(names):
        return False
    for name, content in contents.items():
        with replacing(folder / name) as partial:
            partial.write_bytes(content)
    return True


def train(recipe: Recipe, wanted: dict[int, str], epochs: int) -> None:
    """Trains with these seeds, whose identities are given, here or on a Ray cluster."""
    address = cluster_address(recipe.kernels)
    with TrainingBars(recipe.name, wanted, epochs) as bars:
        if address:
            from stages.support.cluster import train_on_cluster

            params = {seed: params_with_seed(seed) for seed in wanted}
            train_on_cluster(address, recipe.name, params, recipe.data, recipe.output, bars.end_epoch)
        else:
            train_one = functools.partial(_train_one, recipe, wanted)
            if recipe.kernels == "native":  # takes all cores, and the GPU, which no fork could use
                train_side_by_side(list(wanted), train_one, bars.end_epoch, count=1, method="spawn")
            else:
                import_keras()
                count = trainings_at_once((recipe.data / IMAGES).stat().st_size)
                train_side_by_side(list(wanted), train_one, bars.end_epoch, count)


def params_with_seed(seed: int) -> str:
    """The text of params.yaml with one seed."""
    content = read_yaml(PARAMS_PATH)
    content["train"]["seeds"] = [seed]
    return to_yaml(content)


def _train_one(recipe: Recipe, wanted: dict[int, str], seed: int, end_epoch: EndEpoch) -> None:
    recipe.train(seed, wanted[seed], end_epoch)


@command
def main() -> None:
    """Trains one architecture of params.yaml with all seeds, on the prepared training images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("data", type=Path, help="the folder of training images that preprocess wrote")
    parser.add_argument("output", type=output_path, help="the folder to write: models, histories, summary")
    arguments = parser.parse_args()
    check_versions("common", "models")

    params = load_params()
    name, kernels = arguments.architecture, params.train.kernels
    architecture = params.architecture(name)
    dataset = Dataset.read(arguments.data)
    dataset.load(arguments.data)  # raises an error if the arrays are damaged, before anything is written
    check_fit(name, architecture, dataset)
    if why := why_not_portable(kernels):
        print(
            f"{name}: {why}: other machines give other bytes; compare with their results by: make review BASE=HEAD",
            file=sys.stderr,
        )
    recipe = Recipe(name, architecture, kernels, arguments.data, arguments.output)
    wanted = identities(name, architecture, kernels, arguments.data, sorted(params.train.seeds))
    arguments.output.mkdir(parents=True, exist_ok=True)
    taken = take_over(recipe, wanted)
    if missing := {seed: wanted[seed] for seed in params.train.seeds if seed not in taken}:
        train(recipe, missing, architecture.fit.epochs)
    write_json(arguments.output / IDENTITIES, {str(seed): identity for seed, identity in wanted.items()})
    shutil.rmtree(recipe.checkpoint(0).parent, ignore_errors=True)
    finish(f"{name}: {_summary(missing, taken)}")


def _summary(trained: Iterable[int], taken: Iterable[int]) -> str:
    did = [
        f"{verb} with seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        for verb, seeds in (("trained", sorted(trained)), ("the same as before", sorted(taken)))
        if seeds
    ]
    return "; ".join(did)


if __name__ == "__main__":
    main()
