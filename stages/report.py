"""Stage 5: shows what one architecture gets wrong, as pictures (PNG) and tables (CSV)."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common import pictures, tables, tiles
from stages.common.arrays import Dataset, load_prepared
from stages.common.errors import PipelineError, command
from stages.common.files import write_text
from stages.common.params import Report, load_params
from stages.common.versions import check_versions


@dataclass(frozen=True)
class Findings:
    """The tables worked out from one architecture's predictions."""

    name: str
    confusion: pd.DataFrame
    pairs: pd.DataFrame
    classes: pd.DataFrame
    errors: pd.DataFrame

    @classmethod
    def read(cls, name: str, path: Path, settings: Report, classes: int) -> "Findings":
        """Reads the predictions that evaluate wrote to `path`, and works out the tables."""
        try:
            columns = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PipelineError(f"{path}: no such file; make it with: dvc repro evaluate@{name}") from error
        table = pd.DataFrame({column: columns[column] for column in ("label", "prediction", "probability")})
        return cls.of(name, table, settings, classes)

    @classmethod
    def of(cls, name: str, predictions: pd.DataFrame, settings: Report, classes: int) -> "Findings":
        """Works out the tables from label, prediction and probability of each test image, in order."""
        counts = tables.confusion(predictions, classes)
        return cls(
            name=name,
            confusion=counts,
            pairs=tables.confused_pairs(counts, settings.confused_pairs),
            classes=tables.class_figures(counts),
            errors=tables.errors(predictions),
        )

    @property
    def best(self) -> pd.Series:
        """The class with the highest recall; the first of those that tie."""
        return self.classes.loc[self.classes["recall"].idxmax()]

    @property
    def worst(self) -> pd.Series:
        """The class with the lowest recall; the first of those that tie."""
        return self.classes.loc[self.classes["recall"].idxmin()]


def draw_confusion(findings: Findings, dataset: str, path: Path) -> None:
    """Draws the confusion matrix, as counts and as shares of each label."""
    heading = f"{findings.name} on {dataset}: confusion matrix of the test images"
    shares = tables.normalised(findings.confusion)
    pictures.save(pictures.confusion_matrix(findings.confusion, shares, heading), path)


def draw_worst_errors(findings: Findings, images: np.ndarray, dataset: str, limit: int, path: Path) -> None:
    """Draws the most confident errors; `images` are the test images, float32 (n, height, width, 1)."""
    worst = tables.most_confident(findings.errors, limit)
    rows = worst.itertuples(index=False, name=None)
    titles = [f"{index}: l={label},p={prediction}\n{probability:.1%}" for index, label, prediction, probability in rows]
    heading = f"{findings.name} on {dataset}: most confident errors"
    pictures.save(pictures.digit_sheet(images[worst["index"].to_numpy(), ..., 0], titles, heading), path)


def write_errors(findings: Findings, images: np.ndarray, limit: int, path: Path) -> None:
    """Writes the images of the most confident errors as tiles, in that order.

    `images` are the test images, float32 (n, height, width, 1) in [0, 1].
    """
    kept = images[tables.most_confident(findings.errors, limit)["index"].to_numpy(), ..., 0]
    tiles.write(np.round(255 * kept.clip(0, 1)).astype(np.uint8), path)


def write_tables(findings: Findings, folder: Path) -> None:
    """Writes the tables as CSV: confusion counts and shares, confused pairs, figures of each class, errors."""
    _write_table(findings.confusion.reset_index(), folder / "confusion.csv")
    _write_table(tables.normalised(findings.confusion).round(6).reset_index(), folder / "confusion_normalised.csv")
    _write_table(findings.pairs, folder / "confused_pairs.csv")
    _write_table(findings.classes, folder / "classes.csv")
    _write_table(findings.errors, folder / "errors.csv")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


@command
def main() -> None:
    """Reports what one evaluated architecture gets wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("architecture", help="its name in params.yaml")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("predictions", type=Path, help="the predictions that evaluate wrote")
    parser.add_argument("confusion", type=Path, help="the picture of the confusion matrix to write, .png")
    parser.add_argument("worst_errors", type=Path, help="the sheet of the most confident errors to write, .png")
    parser.add_argument("errors", type=Path, help="the images of the errors to write, .png")
    parser.add_argument("tables", type=Path, help="the folder of tables to write, .csv")
    arguments = parser.parse_args()
    check_versions("numpy", "pictures", "tables")

    settings = load_params().report
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, _ = load_prepared(arguments.prepared, "test")
    name = arguments.architecture
    findings = Findings.read(name, arguments.predictions, settings, dataset.classes)
    draw_confusion(findings, dataset.dataset, arguments.confusion)
    draw_worst_errors(findings, images, dataset.dataset, settings.worst_errors, arguments.worst_errors)
    write_errors(findings, images, settings.kept_errors, arguments.errors)
    write_tables(findings, arguments.tables)
    print(f"{name}: {len(findings.errors)} of {dataset.test} test images wrong on {dataset.dataset}")


if __name__ == "__main__":
    main()
