"""Draws the overview as tables, charts and one HTML page. Imported only when there is something to draw."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from stages.common.files import write_text
from stages.data.archive import Description
from stages.results.pictures import save
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError
from stages.support.params import Overview, Params
from tools.common import charts
from tools.common.comparison import read_architectures, read_description, tables, to_csv
from tools.common.results import COMPARISON, COMPARISON_CHART, PLOTS, TRAINING, TRAINING_CHART
from tools.common.revision import WORKSPACE
from tools.common.templates import data_uri, escaped, html_page, render


@dataclass(frozen=True)
class OverviewPage:
    """The results of the architectures in params.yaml, best test accuracy first; all of them are in git.

    `missing` lists the architectures without results for this data set, a line each.
    """

    description: Description
    architectures: list[Predictions]
    missing: list[str]
    overview: Overview
    confused_pairs: int

    @classmethod
    def read(cls, params: Params) -> "OverviewPage":
        """Reads the results; raises `PipelineError` if there are none."""
        architectures, missing = read_architectures(WORKSPACE)
        if not architectures:
            raise PipelineError(f"nothing to compare: {missing[0]}")
        return cls(read_description(WORKSPACE), architectures, missing, params.overview, params.report.confused_pairs)

    @cached_property
    def tables(self) -> dict[Path, pd.DataFrame]:
        """The tables by path, with the accuracies published for the same data set beside ours."""
        return tables(self.architectures, self.overview)

    def draw(self) -> None:
        """Writes the tables and charts."""
        dataset = self.description.dataset
        for path, table in self.tables.items():
            write_text(path, to_csv(table))
        save(charts.comparison(self.tables[COMPARISON], f"Architectures on {dataset}"), COMPARISON_CHART)
        save(charts.training_curves(self.tables[TRAINING], f"Training on {dataset}"), TRAINING_CHART)

    def page(self, inputs: str) -> str:
        """Renders the HTML page, with the pictures in `plots`; `inputs` is a digest of what it is drawn from."""
        text = render(
            "overview.md.j2",
            description=self.description,
            comparison=self.tables[COMPARISON],
            architectures=self.architectures,
            missing=self.missing,
            seeds_ended_apart="seeds" in self.tables[TRAINING],
            confused_pairs=self.confused_pairs,
            picture=_picture,
        )
        return html_page(f"{self.description.dataset}: architectures compared", text, inputs)


def _picture(path: str, what: str) -> Markup:
    """Returns a picture as Markdown, or what to run if it is not there."""
    content = WORKSPACE.read(PLOTS / path)
    if content is None:
        stage = f"report@{Path(path).stem}"
        return escaped(f"{PLOTS / path}: no such file; make it with: dvc repro {stage}")
    return Markup("![{}]({})").format(what, data_uri(content))
