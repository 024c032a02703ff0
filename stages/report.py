"""Stage 5: what went wrong where, per architecture, and how the architectures compare.

Writes pictures (PNG), tables (CSV) and one self-contained HTML page. The architectures are those
in params.yaml, so a removed one disappears although its files may still lie about.
"""

import argparse
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages import pictures, tables
from stages.arrays import Dataset, load_prepared
from stages.errors import PipelineError, command
from stages.files import write_text
from stages.params import Params, Report, load_params

TEMPLATE = "report.html.j2"


def read_predictions(path: Path) -> pd.DataFrame:
    """What evaluate predicted: label, prediction and probability, in the order of the test set."""
    columns = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame({name: columns[name] for name in ("label", "prediction", "probability")})


@dataclass(frozen=True)
class Results:
    """What train and evaluate recorded of one architecture."""

    metrics: dict[str, Any]
    predictions: pd.DataFrame
    history: pd.DataFrame

    @classmethod
    def read(cls, name: str, metrics: Path, predictions: Path, history: Path) -> "Results":
        """Reads the architecture's file from each of the three folders."""
        try:
            return cls(
                metrics=json.loads((metrics / f"{name}.json").read_text(encoding="utf-8")),
                predictions=read_predictions(predictions / f"{name}.json"),
                history=pd.read_csv(history / f"{name}.csv"),
            )
        except FileNotFoundError as error:
            raise PipelineError(f"{error.filename}: no such file; make it with: dvc repro evaluate@{name}") from error


@dataclass(frozen=True)
class Section:
    """One architecture's part of the report."""

    name: str
    metrics: dict[str, Any]
    confusion: pd.DataFrame
    pairs: pd.DataFrame
    classes: pd.DataFrame
    errors: pd.DataFrame

    @classmethod
    def of(cls, name: str, results: Results, settings: Report, classes: int) -> "Section":
        """Works out the tables of one architecture."""
        counts = tables.confusion(results.predictions, classes)
        return cls(
            name=name,
            metrics=results.metrics,
            confusion=counts,
            pairs=tables.confused_pairs(counts, settings.confused_pairs),
            classes=tables.class_figures(counts, results.metrics),
            errors=tables.errors(results.predictions),
        )

    @property
    def best(self) -> pd.Series:
        """The class with the highest recall, the lower class where two tie."""
        return self.classes.loc[self.classes["recall"].idxmax()]

    @property
    def worst(self) -> pd.Series:
        """The class with the lowest recall, the lower class where two tie."""
        return self.classes.loc[self.classes["recall"].idxmin()]


def write_section(section: Section, images: np.ndarray, dataset: Dataset, settings: Report, plots: Path) -> None:
    """Writes one architecture's pictures and tables below `plots`.

    `images` are the prepared test images, float32 (n, height, width, 1).
    """
    heading = f"{section.name} on {dataset.dataset}"
    shares = tables.normalised(section.confusion)
    matrix = pictures.confusion_matrix(section.confusion, shares, f"{heading}: confusion matrix of the test images")
    pictures.save(matrix, plots / "confusion" / f"{section.name}.png")

    worst = tables.most_confident(section.errors, settings.worst_errors)
    rows = worst.itertuples(index=False, name=None)
    titles = [f"{index}: l={label},p={prediction}\n{probability:.1%}" for index, label, prediction, probability in rows]
    sheet = pictures.digit_sheet(images[worst["index"].to_numpy(), ..., 0], titles, f"{heading}: most confident errors")
    pictures.save(sheet, plots / "worst_errors" / f"{section.name}.png")

    folder = plots / "tables" / section.name
    _write_table(section.confusion.reset_index(), folder / "confusion.csv")
    _write_table(shares.round(6).reset_index(), folder / "confusion_normalised.csv")
    _write_table(section.pairs, folder / "confused_pairs.csv")
    _write_table(section.classes, folder / "classes.csv")
    _write_table(section.errors, folder / "errors.csv")


def write_overview(
    comparison: pd.DataFrame, history: pd.DataFrame, dataset: Dataset, settings: Report, plots: Path
) -> None:
    """Writes what stands over all architectures: the comparison and the training curves."""
    _write_table(comparison, plots / "comparison.csv")
    _write_table(history, plots / "training.csv")
    chart = pictures.comparison(comparison, settings.confidence, f"Architectures on {dataset.dataset}")
    pictures.save(chart, plots / "comparison.png")
    pictures.save(pictures.training_curves(history, f"Training on {dataset.dataset}"), plots / "training.png")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def render_page(
    dataset: Dataset, comparison: pd.DataFrame, sections: list[Section], settings: Report, plots: Path
) -> str:
    """The self-contained HTML page; its pictures are those written below `plots`."""

    def picture(path: str) -> str:
        return "data:image/png;base64," + base64.b64encode((plots / path).read_bytes()).decode()

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["picture"] = picture
    return environment.get_template(TEMPLATE).render(
        dataset=dataset, comparison=comparison, sections=sections, settings=settings
    )


def published_accuracies(params: Params, dataset: Dataset) -> dict[str, float]:
    """The published accuracies, if they were measured on this data set."""
    published = params.report.published
    return published.accuracy if published and published.dataset == dataset.dataset else {}


@command
def main() -> None:
    """Reports on every architecture in params.yaml."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("metrics", type=Path, help="the folder of metrics that evaluate wrote")
    parser.add_argument("predictions", type=Path, help="the folder of predictions that evaluate wrote")
    parser.add_argument("history", type=Path, help="the folder of histories that train wrote")
    parser.add_argument("plots", type=Path, help="the folder to write to")
    arguments = parser.parse_args()

    params = load_params()
    settings, plots = params.report, arguments.plots
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, _ = load_prepared(arguments.prepared, "test")
    folders = (arguments.metrics, arguments.predictions, arguments.history)
    results = {name: Results.read(name, *folders) for name in params.architectures}
    metrics = {name: result.metrics for name, result in results.items()}

    comparison = tables.compare(metrics, settings.confidence, published_accuracies(params, dataset))
    order = list(comparison["architecture"])  # not that of params.yaml, which must not matter
    history = pd.concat([results[name].history for name in order], ignore_index=True)
    sections = [Section.of(name, results[name], settings, dataset.classes) for name in order]
    write_overview(comparison, history, dataset, settings, plots)
    for section in sections:
        write_section(section, images, dataset, settings, plots)
    write_text(plots / "report.html", render_page(dataset, comparison, sections, settings, plots))
    print(comparison[["architecture", "accuracy", "low", "high", "errors", "parameters"]].to_string(index=False))


if __name__ == "__main__":
    main()
