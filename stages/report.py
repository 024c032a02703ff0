"""Stage 5: shows what the models of one architecture get right and wrong, as pictures (PNG) and tables (CSV)."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import write_json, write_text
from stages.common.prepared import Dataset
from stages.results import pictures, tables, tiles
from stages.results.predictions import Predictions
from stages.support.errors import command
from stages.support.params import Report, load_params
from stages.support.paths import output_path
from stages.support.progress import finish
from stages.support.versions import check_versions


def report(predictions: Predictions, images: np.ndarray, photo: bool, settings: Report, plots: Path) -> None:
    """Writes the pictures and tables of one architecture.

    `images` are the test images, float32 (n, height, width, channels) in [0, 1]; `photo`, whether to show them as they
    are.
    """
    name = predictions.name
    _write_table(predictions.curves, plots / "history" / f"{name}.csv")
    write_confusion(predictions, plots / "confusion" / f"{name}.json")
    draw_confusion(predictions, plots / "confusion" / f"{name}.png")
    draw_worst_errors(predictions, images, photo, settings.worst_errors, plots / "worst_errors" / f"{name}.png")
    write_errors(predictions, images, settings.kept_errors, plots / "errors" / f"{name}.png")
    write_tables(predictions, settings.confused_pairs, plots / "tables" / name)


def write_confusion(predictions: Predictions, path: Path) -> None:
    """Writes the confusion counts as DVC draws them: a row for each pair of label and prediction that occurs."""
    counts = predictions.confusion.stack().rename("images").reset_index()
    rows = counts[counts["images"] > 0].to_dict("records")
    write_json(path, [{"dataset": predictions.dataset + _seeds(predictions), **row} for row in rows])


def draw_confusion(predictions: Predictions, path: Path) -> None:
    """Draws the confusion matrix, as counts and as shares of each label."""
    summed = f", sum of {len(predictions.seeds)} seeds" if _seeds(predictions) else ""
    heading = f"{predictions.name} on {predictions.dataset}: confusion matrix of the test images{summed}"
    shares = tables.normalised(predictions.confusion)
    pictures.save(pictures.confusion_matrix(predictions.confusion, shares, heading), path)


def draw_worst_errors(predictions: Predictions, images: np.ndarray, photo: bool, limit: int, path: Path) -> None:
    """Draws the errors that most seeds make, most confident first; `images` and `photo` as in `report`."""
    worst, seeds = predictions.errors.head(limit), len(predictions.seeds)
    named = bool(predictions.class_names)
    shown = tables.with_names(worst, [pictures.shortened(str(name), 9) for name in predictions.names])
    titles = [
        (
            f"{row.label} → {row.prediction}\n{row.index}, "
            if named
            else f"{row.index}: l={row.label},p={row.prediction}\n"
        )
        + (f"{row.seeds} of {seeds}, " if seeds > 1 else "")
        + f"{row.probability:.1%}"
        for row in shown.itertuples(index=False, name="Error")
    ]
    which = "errors that most seeds make" if seeds > 1 else "most confident errors"
    heading = f"{predictions.name} on {predictions.dataset}: {which}"
    pictures.save(pictures.image_sheet(images[worst["index"].to_numpy()], titles, heading, photo), path)


def write_errors(predictions: Predictions, images: np.ndarray, limit: int, path: Path) -> None:
    """Writes the images of the first errors as tiles, in the order of the table.

    `images` are the test images, float32 (n, height, width, channels) in [0, 1].
    """
    kept = np.round(255 * images[predictions.errors.head(limit)["index"].to_numpy()].clip(0, 1)).astype(np.uint8)
    tiles.write(kept[..., 0] if kept.shape[3] == 1 else kept, path)


def write_tables(predictions: Predictions, confused_pairs: int, folder: Path) -> None:
    """Writes tables as CSV: confusion counts and shares, confused pairs, figures of each class and seed, errors."""
    _write_table(predictions.confusion.reset_index(), folder / "confusion.csv")
    _write_table(tables.normalised(predictions.confusion).round(6).reset_index(), folder / "confusion_normalised.csv")
    _write_table(predictions.pairs(confused_pairs), folder / "confused_pairs.csv")
    _write_table(predictions.class_figures, folder / "classes.csv")
    _write_table(tables.with_names(predictions.errors, predictions.names), folder / "errors.csv")
    _write_table(predictions.of_seeds.round(6), folder / "seeds.csv")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _seeds(predictions: Predictions) -> str:
    """Returns how many seeds figures are of, for headings; an empty string for one."""
    return f", {predictions.several}" if len(predictions.seeds) > 1 else ""


@command
def main() -> None:
    """Reports what the evaluated models of one architecture get right and wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("data", type=Path, help="the folder of test images that preprocess wrote")
    parser.add_argument("predictions", type=Path, help="the predictions that evaluate wrote, .json")
    parser.add_argument("plots", type=output_path, help="the folder of the pictures and tables to write")
    arguments = parser.parse_args()
    check_versions("common", "results")

    params = load_params()
    name = arguments.architecture
    params.architecture(name)
    dataset = Dataset.read(arguments.data)
    images, one_hot = dataset.load(arguments.data)
    predictions = Predictions.read(arguments.predictions, name, params.train.seeds, one_hot.argmax(axis=1))
    report(predictions, images, dataset.photo, params.report, arguments.plots)
    finish(f"{name}: {len(predictions.errors):,} of {len(images):,} test images wrong with a seed")


if __name__ == "__main__":
    main()
