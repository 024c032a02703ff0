"""Stage 5: sums up the models of one architecture, one for each seed: metrics, pictures (PNG) and tables (CSV).

It reports an ensemble the same way, from the averaged probabilities of its members.
"""

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.common import pictures, tables, tiles
from stages.common.errors import command
from stages.common.evaluation import HISTORY, Evaluation, average, read_evaluation
from stages.common.files import output_path, write_json, write_text
from stages.common.params import Params, load_params
from stages.common.prepared import Dataset
from stages.common.versions import check_versions


@dataclass(frozen=True)
class Findings:
    """What the models of one architecture get right and wrong.

    Attributes:
        name: the architecture, or the ensemble.
        classes: their number.
        models: an evaluation for each seed; one for an ensemble.
    """

    name: str
    classes: int
    models: list[Evaluation]

    @classmethod
    def read(cls, name: str, folder: Path, params: Params, classes: int, label: np.ndarray | None = None) -> "Findings":
        """Reads what evaluate wrote into `folder` for the seeds in params.yaml.

        Raises `PipelineError` if a file is missing, is damaged, or is not of these classes and labels (n,).
        """

        def read(architecture: str, seed: int) -> Evaluation:
            path, stage = folder / architecture / f"{seed}.json", f"evaluate@{architecture}-{seed}"
            return read_evaluation(path, stage, classes, label)

        if name in params.ensembles:
            members = params.ensembles[name].models(params.train.seeds)
            return cls(name, classes, [average((read(*member) for member in members), classes)])
        params.architecture(name)
        return cls(name, classes, [read(name, seed) for seed in sorted(params.train.seeds)])

    @property
    def dataset(self) -> str:
        return self.models[0].dataset

    @property
    def several(self) -> str:
        """Says that figures are of several seeds, for headings; empty for one."""
        return f", {len(self.models)} seeds" if len(self.models) > 1 else ""

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """Confusion counts (classes, classes), summed over the seeds."""
        prediction = np.stack([model.prediction for model in self.models])
        return tables.confusion(self.models[0].label, prediction, self.classes)

    @cached_property
    def errors(self) -> pd.DataFrame:
        """The images that a seed gets wrong, as `stages.common.tables.errors`."""
        prediction, probability = (
            np.stack([getattr(model, key) for model in self.models]) for key in ("prediction", "probability")
        )
        return tables.errors(self.models[0].label, prediction, probability)

    @cached_property
    def class_figures(self) -> pd.DataFrame:
        return tables.class_figures(self.confusion)

    def pairs(self, limit: int) -> pd.DataFrame:
        """The most confused pairs, of all seeds together."""
        return tables.confused_pairs(self.confusion, limit)

    @property
    def best(self) -> pd.Series:
        """The class with the highest recall; the first of those that tie."""
        return self.class_figures.loc[self.class_figures["recall"].idxmax()]

    @property
    def worst(self) -> pd.Series:
        """The class with the lowest recall; the first of those that tie."""
        return self.class_figures.loc[self.class_figures["recall"].idxmin()]

    @cached_property
    def history(self) -> pd.DataFrame:
        """Mean (`value`), smallest (`low`) and largest (`high`) loss and accuracy over the seeds, for each epoch."""
        rows = [row for model in self.models for row in model.history]
        history = pd.DataFrame(rows, columns=list(HISTORY))
        found = history.groupby(["split", "metric", "epoch"], as_index=False)["value"].agg(["mean", "min", "max"])
        named = found.rename(columns={"mean": "value", "min": "low", "max": "high"}).round(6)
        named = named.assign(dataset=self.dataset, architecture=self.name)
        return named[["dataset", "architecture", "epoch", "split", "metric", "value", "low", "high"]]

    def metrics(self) -> dict[str, Any]:
        """Means over the seeds; with several, also the spread of the accuracy.

        `loss` is in nats. `errors` counts test images. `accuracy_sd` is the sample standard deviation.
        """
        accuracy = np.array([model.accuracy for model in self.models])
        wrong = [int((model.label != model.prediction).sum()) for model in self.models]
        found: dict[str, Any] = {"dataset": self.dataset, "accuracy": float(accuracy.mean())}
        if len(accuracy) > 1:
            found |= {"accuracy_sd": float(accuracy.std(ddof=1))}
            found |= {"accuracy_min": float(accuracy.min()), "accuracy_max": float(accuracy.max())}
        found |= {"loss": float(np.mean([model.loss for model in self.models]))}
        found |= {"errors": wrong[0] if len(wrong) == 1 else float(np.mean(wrong))}
        return found | overfitting(self.history) | {"parameters": self.models[0].parameters}


def overfitting(history: pd.DataFrame) -> dict[str, float]:
    """Computes the accuracies after the last epoch and their gap, train minus validation; {} without validation.

    `history` has the columns epoch, split, metric, value.
    """
    last = history[(history["epoch"] == history["epoch"].max()) & (history["metric"] == "accuracy")]
    accuracy = last.set_index("split")["value"]
    if "validation" not in accuracy:
        return {}
    return {
        "train_accuracy": float(accuracy["train"]),
        "validation_accuracy": float(accuracy["validation"]),
        "train_validation_gap": float(accuracy["train"] - accuracy["validation"]),
    }


def write_confusion(findings: Findings, path: Path) -> None:
    """Writes the confusion counts as DVC draws them: a row for each pair of label and prediction that occurs."""
    counts = findings.confusion.stack().rename("images").reset_index()
    rows = counts[counts["images"] > 0].to_dict("records")
    write_json(path, [{"dataset": findings.dataset + findings.several, **row} for row in rows])


def draw_confusion(findings: Findings, path: Path) -> None:
    """Draws the confusion matrix, as counts and as shares of each label."""
    summed = f", sum of {len(findings.models)} seeds" if findings.several else ""
    heading = f"{findings.name} on {findings.dataset}: confusion matrix of the test images{summed}"
    shares = tables.normalised(findings.confusion)
    pictures.save(pictures.confusion_matrix(findings.confusion, shares, heading), path)


def draw_worst_errors(findings: Findings, images: np.ndarray, limit: int, path: Path) -> None:
    """Draws the errors that most seeds make, most confident first; `images`: test images, (n, height, width, 1)."""
    worst, seeds = findings.errors.head(limit), len(findings.models)
    titles = [
        f"{row.index}: l={row.label},p={row.prediction}\n"
        + (f"{row.seeds} of {seeds}, " if seeds > 1 else "")
        + f"{row.probability:.1%}"
        for row in worst.itertuples(index=False, name="Error")
    ]
    which = "errors that most seeds make" if seeds > 1 else "most confident errors"
    heading = f"{findings.name} on {findings.dataset}: {which}"
    pictures.save(pictures.digit_sheet(images[worst["index"].to_numpy(), ..., 0], titles, heading), path)


def write_errors(findings: Findings, images: np.ndarray, limit: int, path: Path) -> None:
    """Writes the images of the first errors as tiles, in the order of the table.

    `images` are the test images, float32 (n, height, width, 1) in [0, 1].
    """
    kept = images[findings.errors.head(limit)["index"].to_numpy(), ..., 0]
    tiles.write(np.round(255 * kept.clip(0, 1)).astype(np.uint8), path)


def write_tables(findings: Findings, confused_pairs: int, folder: Path) -> None:
    """Writes the tables as CSV: confusion counts and shares, confused pairs, figures of each class, errors."""
    _write_table(findings.confusion.reset_index(), folder / "confusion.csv")
    _write_table(tables.normalised(findings.confusion).round(6).reset_index(), folder / "confusion_normalised.csv")
    _write_table(findings.pairs(confused_pairs), folder / "confused_pairs.csv")
    _write_table(findings.class_figures, folder / "classes.csv")
    _write_table(findings.errors, folder / "errors.csv")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


@command
def main() -> None:
    """Reports what the evaluated models of one architecture, or an ensemble, get right and wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", help="of the architecture or ensemble in params.yaml")
    parser.add_argument("prepared", type=Path, help="the folder that preprocess wrote")
    parser.add_argument("evaluations", type=Path, help="the folder that evaluate wrote")
    parser.add_argument("metrics", type=output_path, help="the metrics to write, .json")
    parser.add_argument("plots", type=output_path, help="the folder of the pictures and tables to write")
    parser.add_argument("--predictions", type=Path, help="the averaged predictions of an ensemble to write, .json")
    arguments = parser.parse_args()
    check_versions("numpy", "pictures", "tables")

    params = load_params()
    settings, decimals = params.report, params.evaluate.decimals
    dataset = Dataset.read(arguments.prepared / "dataset.json")
    images, one_hot = dataset.load(arguments.prepared, "test")
    name, plots = arguments.name, arguments.plots
    findings = Findings.read(name, arguments.evaluations, params, dataset.classes, one_hot.argmax(axis=1))
    metrics = findings.metrics()
    rounded = {key: round(value, decimals) if isinstance(value, float) else value for key, value in metrics.items()}
    write_json(arguments.metrics, rounded)
    if arguments.predictions:
        findings.models[0].write(arguments.predictions, decimals)
    else:
        write_text(plots / "history" / f"{name}.csv", findings.history.to_csv(index=False, lineterminator="\n"))
    write_confusion(findings, plots / "confusion" / f"{name}.json")
    draw_confusion(findings, plots / "confusion" / f"{name}.png")
    draw_worst_errors(findings, images, settings.worst_errors, plots / "worst_errors" / f"{name}.png")
    write_errors(findings, images, settings.kept_errors, plots / "errors" / f"{name}.png")
    write_tables(findings, settings.confused_pairs, plots / "tables" / name)
    print(f"{name}: test accuracy {metrics['accuracy']:.4f} on {dataset.dataset}{findings.several}")


if __name__ == "__main__":
    main()
