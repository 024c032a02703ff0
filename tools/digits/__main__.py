"""Show digits, find errors, classify your own pictures."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.arrays import Dataset
from stages.common.errors import PipelineError, command
from stages.common.params import load_params
from stages.common.pictures import digit_sheet, save
from tools.common import results
from tools.common.arguments import number
from tools.digits import lookups

LISTED = 25  # default number of rows printed and digits drawn
MOST_SHOWN = 100  # maximum number of digits in a picture
BATCH = 1000  # images predicted at once


def models(names: list[str]) -> list[str]:
    """Checks that params.yaml has these architectures or ensembles. Returns them, or all if the list is empty."""
    params = load_params()
    for name in names:
        if name not in params.ensembles:
            params.architecture(name)
    return names or params.reported


def seed_of(arguments: argparse.Namespace) -> int:
    """The seed given on the command line, by default the first of train.seeds."""
    seeds = load_params().train.seeds
    if arguments.seed not in (None, *seeds):
        expected = f"expected one of train.seeds ({', '.join(map(str, seeds))})"
        raise PipelineError(f"--seed: {expected}, found {arguments.seed}")
    return seeds[0] if arguments.seed is None else arguments.seed


def print_first(rows: pd.DataFrame, count: int, what: str) -> None:
    """Prints the first `count` rows, and how many rows there are."""
    if rows.empty:
        print(f"no {what}")
        return
    print_table(rows.head(count))
    print(f"showing {count:,} of {len(rows):,} {what}" if len(rows) > count else f"{len(rows):,} {what}")


def draw(
    rows: pd.DataFrame, images: np.ndarray, arguments: argparse.Namespace, heading: str, names: Sequence[str] = ()
) -> None:
    """Draws the digits of the first rows, if `--output` is given."""
    if arguments.output is None:
        return
    shown = rows.head(min(arguments.count, MOST_SHOWN))
    digits = images[shown["index"].to_numpy(dtype=int), ..., 0]
    dataset = Dataset.read(results.PREPARED / "dataset.json").dataset
    save(digit_sheet(digits, lookups.titles(shown, names), f"{dataset}: {heading}"), arguments.output)
    print(f"{arguments.output}{limited(min(arguments.count, len(rows)), 'digits')}")


def limited(count: int, what: str) -> str:
    """A remark if `count` digits are more than a picture shows, else an empty text."""
    return f" (first {MOST_SHOWN} of {count:,} {what})" if count > MOST_SHOWN else ""


def show(arguments: argparse.Namespace) -> None:
    """Show digits from an index on, with their labels and, with --architecture, predictions."""
    images, labels = lookups.prepared(arguments.split)
    if not arguments.first < len(labels):
        expected = f"expected an index below {len(labels)}, the number of {arguments.split} images"
        raise PipelineError(f"first: {expected}, found {arguments.first}")
    chosen = slice(arguments.first, arguments.first + arguments.count)
    rows = pd.DataFrame({"index": np.arange(len(labels))[chosen], "label": labels[chosen]})
    heading = f"{arguments.split} images from index {arguments.first}"
    if arguments.architecture:
        (name,) = models([arguments.architecture])
        heading = f"{heading}, and {name}"
        if arguments.split == "test":
            found = lookups.recorded(name, labels)
            model = found.seeds.index(seed_of(arguments)) if found.seeds else 0
            prediction, probability = found.prediction[model, chosen], found.probability[model, chosen]
        else:
            probabilities = predict(name, images[chosen], seed_of(arguments))
            prediction, probability = probabilities.argmax(axis=1), probabilities.max(axis=1)
        rows = rows.assign(prediction=prediction, probability=probability)
    print_first(rows, arguments.count, f"{arguments.split} images")
    draw(rows, images, arguments, heading)


def predict(name: str, images: np.ndarray, seed: int) -> np.ndarray:
    """Class probabilities of an architecture's model, or of an ensemble: the mean of its members', (n, classes)."""
    from stages.evaluate import predict

    params = load_params()
    ensemble = params.ensembles.get(name)
    members = ensemble.models(params.train.seeds) if ensemble else [(name, seed)]
    found = [predict(results.model(*member), images, BATCH, params.train.kernels)[0] for member in members]
    return np.mean(found, axis=0)


def errors(arguments: argparse.Namespace) -> None:
    """List wrong predictions, of most seeds first, then most confident; filter by architecture, label, prediction, …"""
    images, labels = lookups.prepared("test")
    names = models(arguments.architecture)
    wrong = lookups.errors({name: lookups.recorded(name, labels) for name in names})
    limits = arguments.min_probability, arguments.max_probability
    rows = lookups.select(wrong, arguments.label, arguments.prediction, *limits)
    rows = rows[rows["seeds"] >= arguments.min_seeds]
    if wrong["seeds"].max() == 1:
        rows = rows.drop(columns="seeds")
    print_first(rows, arguments.count, "errors")
    draw(rows, images, arguments, f"errors of {', '.join(names) if len(names) < 3 else f'{len(names)} architectures'}")


def common(arguments: argparse.Namespace) -> None:
    """List test images that all models (each architecture with each seed) get wrong, or, with --at-least, some."""
    images, labels = lookups.prepared("test")
    names = models(arguments.architecture)
    predictions = {name: lookups.recorded(name, labels) for name in names}
    total = sum(len(found.prediction) for found in predictions.values())
    at_least = arguments.at_least or total
    rows = lookups.common(predictions, at_least)
    which = f"at least {at_least} of {total}" if at_least < total else f"all {total}"
    which += " architectures" if total == len(names) else " models"
    print_first(rows, arguments.count, f"test images that {which} get wrong")
    draw(rows, images, arguments, f"wrong in {which}", names)


def classify(arguments: argparse.Namespace) -> None:
    """Classify your own pictures of one digit each, of any size, dark on light or light on dark."""
    from tools.digits import own, sheet

    dataset = Dataset.read(results.PREPARED / "dataset.json")
    name = models([arguments.architecture])[0] if arguments.architecture else best()
    seed = seed_of(arguments)
    heading = f"{name}, trained on {dataset.dataset}"
    pictures = own.each(arguments.file, *dataset.image[:2], MOST_SHOWN if arguments.output else 0)
    tables = []
    while batch := list(islice(pictures, BATCH)):
        probabilities = predict(name, np.stack([picture.seen for picture in batch])[..., np.newaxis], seed)
        first, second = np.argsort(-probabilities, axis=1, kind="stable")[:, :2].T
        table = pd.DataFrame({"file": [picture.path for picture in batch], "prediction": first})
        tables.append(table.assign(probability=probabilities.max(axis=1), second=second, note=[p.note for p in batch]))
        if arguments.output and len(tables) == 1:
            save(sheet.sheet(batch[:MOST_SHOWN], probabilities[:MOST_SHOWN], heading), arguments.output)
    if tables:
        rows = pd.concat(tables, ignore_index=True)
        print(f"{heading}:")
        print_table(rows if rows["note"].any() else rows.drop(columns="note"))
        if arguments.output:
            print(f"{arguments.output}{limited(len(rows), 'pictures')}")
    refused = len(arguments.file) - sum(map(len, tables))
    if refused:
        sys.exit(1)


def print_table(rows: pd.DataFrame) -> None:
    """Prints rows, probabilities with four decimals."""
    print(rows.to_string(index=False, formatters={"probability": "{:.4f}".format}))


def best() -> str:
    """The architecture with the best mean test accuracy."""
    accuracy = {}
    for name in load_params().architectures:
        path = results.metrics(name)
        if path.exists():
            accuracy[name] = json.loads(path.read_text(encoding="utf-8"))["accuracy"]
    if not accuracy:
        raise PipelineError(f"{results.METRICS}/: no architecture is evaluated yet; run: make repro")
    return max(sorted(accuracy), key=accuracy.get)


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument(
        "--output", type=Path, metavar="PNG", help=f"also draw a picture, of at most {MOST_SHOWN} digits"
    )
    listed = argparse.ArgumentParser(add_help=False, parents=[output])
    count_help = f"show at most N (default: {LISTED})"
    listed.add_argument("--count", type=number(1), default=LISTED, metavar="N", help=count_help)
    several = argparse.ArgumentParser(add_help=False)
    several.add_argument("--architecture", nargs="+", default=[], metavar="NAME", help="architectures (default: all)")

    parser = argparse.ArgumentParser(prog="python -m tools.digits", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(run: Callable, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__, parents=parents)
        added.set_defaults(run=run)
        return added

    shown = add(show, listed)
    shown.add_argument("--architecture", metavar="NAME", help="also show its predictions")
    shown.add_argument("--seed", type=number(0), metavar="S", help="of its model with this seed (default: the first)")
    shown.add_argument("first", type=number(0), help="index of the first digit")
    shown.add_argument("--split", choices=("train", "test"), default="test", help="default: test")
    found = add(errors, listed, several)
    found.add_argument("--label", type=number(0), metavar="CLASS", help="only digits of this class")
    found.add_argument("--prediction", type=number(0), metavar="CLASS", help="only digits predicted as this class")
    for limit, default in (("min", 0.0), ("max", 1.0)):
        limit_help = f"{limit}imum probability of the prediction (default: {default:.0f})"
        option = f"--{limit}-probability"
        found.add_argument(option, type=number(0, float, most=1), default=default, metavar="P", help=limit_help)
    found.add_argument("--min-seeds", type=number(1), default=1, metavar="N", help="only images that N seeds get wrong")
    at_least = "images that at least N models get wrong (default: all)"
    add(common, listed, several).add_argument("--at-least", type=number(1), metavar="N", help=at_least)
    chosen = add(classify, output)
    best_help = "model to use (default: the architecture with the best test accuracy)"
    chosen.add_argument("--architecture", metavar="NAME", help=best_help)
    chosen.add_argument("--seed", type=number(0), metavar="S", help="its model with this seed (default: the first)")
    chosen.add_argument("file", type=Path, nargs="+", help="a picture: PNG, JPEG, TIFF, …")
    return parser.parse_args()


@command
def main() -> None:
    """Runs the command given on the command line."""
    given = arguments()
    given.run(given)


if __name__ == "__main__":
    main()
