"""Show digits, find errors, classify your own pictures."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.prepared import Dataset
from stages.results.pictures import image_sheet, save
from stages.support.errors import PipelineError, command
from tools.common import results
from tools.common.arguments import number
from tools.digits import lookups, models

DEFAULT_COUNT = 25  # default number of rows printed and digits drawn
MAX_DRAWN = 100  # maximum number of digits in a picture
MAX_FILE_NAME = 18  # characters of a file's name above its digit


def print_first(rows: pd.DataFrame, count: int, noun: str, which: str = "") -> None:
    """Prints the first `count` rows, and how many rows there are; `noun` names one, `which` is what follows it."""
    if rows.empty:
        print(f"no {noun}s{which}")
        return
    print_table(rows.head(count))
    total = f"{len(rows):,} {noun}{'s' if len(rows) > 1 else ''}{which}"
    print(f"showing {count:,} of {total}" if len(rows) > count else total)


def draw(
    rows: pd.DataFrame, images: np.ndarray, arguments: argparse.Namespace, heading: str, names: Sequence[str] = ()
) -> None:
    """Draws the images of the first rows, if `--output` is given."""
    if arguments.output:
        rows = rows.head(arguments.count)
        shown = rows.head(MAX_DRAWN)
        chosen, dataset = images[shown["index"].to_numpy(dtype=int)], Dataset.read(results.TEST_DATA)
        titles, heading = lookups.titles(shown, names), f"{dataset.dataset}: {heading}"
        write(chosen, titles, heading, arguments.output, len(rows), dataset.photo)


def write(images: np.ndarray, titles: list[str], heading: str, path: Path, total: int, photo: bool = False) -> None:
    """Writes a picture of images, (n, height, width[, channels]), and prints its path, and of how many these are."""
    save(image_sheet(images, titles, heading, photo), path)
    print(f"{path} (first {MAX_DRAWN} of {total:,})" if total > MAX_DRAWN else path)


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
        (name,) = models.reported([arguments.architecture])
        seed = models.chosen(arguments.seed)
        heading = f"{heading}, and {models.described(name, seed)}"
        if arguments.split == "test":
            recorded = lookups.recorded(name, labels)
            row = recorded.seeds.index(seed)
            rows = rows.assign(
                prediction=recorded.prediction[row, chosen], probability=recorded.probability[row, chosen]
            )
        else:
            probabilities = models.predict(name, seed, images[chosen])
            rows = rows.assign(prediction=probabilities.argmax(axis=1), probability=probabilities.max(axis=1))
    elif arguments.seed is not None:
        raise PipelineError("--seed: expected an architecture too; add --architecture NAME")
    rows = lookups.named(rows, lookups.classes())
    print_first(rows, arguments.count, f"{arguments.split} image")
    draw(rows, images, arguments, heading)


def errors(arguments: argparse.Namespace) -> None:
    """List wrong predictions, those that most seeds make first, then the most confident; filter them."""
    images, labels = lookups.prepared("test")
    names, classes = models.reported(arguments.architecture), lookups.classes()
    label, prediction = (
        lookups.class_number(f"--{option}", getattr(arguments, option), classes) for option in ("label", "prediction")
    )
    predictions = {name: lookups.recorded(name, labels) for name in names}
    seeds = max(len(item.prediction) for item in predictions.values())
    least = at_most(arguments.min_seeds, seeds, "--min-seeds", "seeds")
    limits = arguments.min_probability, arguments.max_probability
    rows = lookups.named(lookups.select(lookups.errors(predictions), label, prediction, *limits, least), classes)
    print_first(rows, arguments.count, "error")
    draw(rows, images, arguments, f"errors of {', '.join(names) if len(names) < 3 else f'{len(names)} architectures'}")


def common(arguments: argparse.Namespace) -> None:
    """List test images that all models get wrong, or, with --at-least, some: each architecture with each seed."""
    images, labels = lookups.prepared("test")
    names = models.reported(arguments.architecture)
    predictions = {name: lookups.recorded(name, labels) for name in names}
    count = sum(len(item.prediction) for item in predictions.values())
    at_least = at_most(arguments.at_least or count, count, "--at-least", "models")
    rows = lookups.named(lookups.common(predictions, at_least), lookups.classes())
    which = f"at least {at_least} of {count} models" if at_least < count else f"all {count} models"
    which, get = ("the only model", "gets") if count == 1 else (which, "get")
    print_first(rows, arguments.count, "test image", f" that {which} {get} wrong")
    draw(rows, images, arguments, f"wrong in {which}", names)


def png(text: str) -> Path:
    """Checks the path of a picture to write, so that no file of another kind is overwritten. An argparse type."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png, found {text!r}")
    return Path(text)


def at_most(given: int, most: int, option: str, what: str) -> int:
    """Checks an option that is a number of seeds or models. Raises `PipelineError` if there are not as many."""
    if given > most:
        raise PipelineError(f"{option}: expected at most {most}, the number of {what}, found {given}")
    return given


def classify(arguments: argparse.Namespace) -> None:
    """Classify your own pictures of one digit each, of any size, dark on light or light on dark."""
    from tools.digits import own

    if arguments.output in arguments.file:
        raise PipelineError(f"--output: expected another file than the pictures to classify, found {arguments.output}")
    dataset = Dataset.read(results.TEST_DATA)
    if dataset.photo:
        raise PipelineError(f"classify: expected a data set of drawn digits, found photos ({dataset.dataset})")
    name = models.reported([arguments.architecture])[0] if arguments.architecture else models.best()
    seed = models.chosen(arguments.seed)
    heading = f"{models.described(name, seed)}, trained on {dataset.dataset}"
    if pictures := list(own.prepare_all(arguments.file, *dataset.image[:2])):
        files, images, notes = zip(*pictures, strict=True)
        probabilities = models.predict(name, seed, np.stack(images)[..., np.newaxis])
        first, second = np.argsort(-probabilities, axis=1, kind="stable")[:, :2].T
        columns = {"file": files, "prediction": first, "probability": probabilities.max(axis=1), "second": second}
        rows = lookups.named(pd.DataFrame(columns | {"note": notes}), lookups.classes())
        print(f"{heading}:")
        print_table(rows if any(notes) else rows.drop(columns="note"))
        if arguments.output:
            shown = rows.head(MAX_DRAWN).to_dict("records")
            titles = [f"{row['file'][-MAX_FILE_NAME:]}\n{row['prediction']}, {row['probability']:.1%}" for row in shown]
            write(np.stack(images[:MAX_DRAWN]), titles, heading, arguments.output, len(rows))
    if len(pictures) < len(arguments.file):
        sys.exit(1)


def print_table(rows: pd.DataFrame) -> None:
    """Prints rows, probabilities with four decimals."""
    print(rows.to_string(index=False, formatters={"probability": "{:.4f}".format}))


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.digits", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(run: Callable, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__, parents=parents)
        added.set_defaults(run=run)
        return added

    output, several, seed = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    output.add_argument("--output", type=png, metavar="PNG", help=f"also draw at most {MAX_DRAWN} digits")
    listed = argparse.ArgumentParser(add_help=False, parents=[output])
    listed.add_argument(
        "--count", type=number(1), default=DEFAULT_COUNT, metavar="N", help=f"show at most N (default: {DEFAULT_COUNT})"
    )
    several.add_argument("--architecture", nargs="+", default=[], metavar="NAME", help="architectures (default: all)")
    seed.add_argument("--seed", type=number(0), metavar="S", help="of the model (default: the first of train.seeds)")

    shown = add(show, listed, seed)
    shown.add_argument("--architecture", metavar="NAME", help="also show its predictions")
    shown.add_argument("first", type=number(0), help="index of the first digit")
    shown.add_argument("--split", choices=("train", "test"), default="test", help="default: test")
    wrong = add(errors, listed, several)
    wrong.add_argument("--label", metavar="CLASS", help="only images of this class, by its name or number")
    wrong.add_argument("--prediction", metavar="CLASS", help="only images predicted as this class")
    share = number(0, float, most=1)
    wrong.add_argument("--min-probability", type=share, default=0, metavar="P", help="of the prediction (default: 0)")
    wrong.add_argument("--max-probability", type=share, default=1, metavar="P", help="of the prediction (default: 1)")
    min_seeds = "only errors that at least N seeds make (default: 1)"
    wrong.add_argument("--min-seeds", type=number(1), default=1, metavar="N", help=min_seeds)
    at_least = "images that at least N models get wrong (default: all)"
    add(common, listed, several).add_argument("--at-least", type=number(1), metavar="N", help=at_least)
    chosen = add(classify, output, seed)
    chosen.add_argument("--architecture", metavar="NAME", help="default: the one with the best mean test accuracy")
    chosen.add_argument("file", type=Path, nargs="+", help="a picture: PNG, JPEG, TIFF, …")
    return parser.parse_args()


@command
def main() -> None:
    """Runs the command given on the command line."""
    given = arguments()
    given.run(given)


if __name__ == "__main__":
    main()
