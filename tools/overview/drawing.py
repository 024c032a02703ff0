"""Draws the overview as tables, charts and one HTML page. Imported only when there is something to draw."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.common.files import write_text
from stages.data.archive import Description
from stages.results.pictures import save
from stages.results.predictions import Predictions
from stages.support.params import Params
from tools.common import charts, results
from tools.common.comparison import present, read_description, tables
from tools.common.results import COMPARISON, COMPARISON_CHART, PLOTS, TRAINING, TRAINING_CHART
from tools.common.revision import WORKSPACE
from tools.common.templates import data_uri, render


@dataclass(frozen=True)
class Overview:
    """The results of the architectures in params.yaml, best test accuracy first; all of them are in git."""

    description: Description
    comparison: pd.DataFrame
    training: pd.DataFrame
    predictions: list[Predictions]
    confused_pairs: int

    @classmethod
    def read(cls, params: Params) -> "Overview":
        """Reads the results, and beside them the accuracies published for the same data set."""
        description = read_description(WORKSPACE)
        drawn = tables(WORKSPACE, description, params.architectures, params.overview.model_dump())
        names = drawn[COMPARISON]["architecture"]
        predictions = [Predictions.read(results.predictions(name), name, params.train.seeds) for name in names]
        return cls(description, drawn[COMPARISON], drawn[TRAINING], predictions, params.report.confused_pairs)

    def tables(self) -> dict[Path, str]:
        """Returns the text of each table, by path."""
        tables = {COMPARISON: self.comparison, TRAINING: self.training}
        return {path: table.to_csv(index=False, lineterminator="\n") for path, table in tables.items()}

    def draw(self) -> None:
        """Writes the tables and charts."""
        dataset = self.description.dataset
        for path, text in self.tables().items():
            write_text(path, text)
        save(charts.comparison(self.comparison, f"Architectures on {dataset}"), COMPARISON_CHART)
        save(charts.training_curves(self.training, f"Training on {dataset}"), TRAINING_CHART)

    def page(self, inputs: str) -> str:
        """Renders the self-contained HTML page with the pictures in `plots`; `inputs` is the digest that it carries."""
        return render(
            "overview.html.j2",
            inputs=inputs,
            description=self.description,
            comparison=self.comparison,
            sections=self.predictions,
            most_seeds=self.comparison["seeds"].max(),
            seeds_ended_apart="seeds" in self.training,
            confused_pairs=self.confused_pairs,
            picture=_picture,
        )


def _picture(path: str) -> str:
    content = WORKSPACE.read(PLOTS / path)
    return data_uri(present(PLOTS / path, content, f"report@{Path(path).stem}"))
