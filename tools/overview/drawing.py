"""The overview as tables, charts and one HTML page. Imported only when there is something to draw."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.common.files import write_text
from stages.common.params import Params
from stages.common.pictures import save
from stages.report import Findings
from tools.common import charts, results
from tools.common.comparison import present, tables
from tools.common.results import COMPARISON, COMPARISON_CHART, DESCRIPTION, PLOTS, TRAINING, TRAINING_CHART
from tools.common.revision import WORKSPACE
from tools.common.templates import data_uri, render


@dataclass(frozen=True)
class Overview:
    """What git holds of the architectures in params.yaml, best test accuracy first."""

    description: dict
    comparison: pd.DataFrame
    training: pd.DataFrame
    findings: list[Findings]

    @classmethod
    def read(cls, params: Params) -> "Overview":
        """Reads the results; published accuracies stand beside them if they are of the same data set."""
        drawn = tables(WORKSPACE, params.architectures, params.overview.model_dump())
        comparison = drawn[COMPARISON]
        description = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
        findings = [_read_findings(name, params, description["classes"]) for name in comparison["architecture"]]
        return cls(description, comparison, drawn[TRAINING], findings)

    def tables(self) -> dict[Path, str]:
        """The text of each table, by path."""
        tables = {COMPARISON: self.comparison, TRAINING: self.training}
        return {path: table.to_csv(index=False, lineterminator="\n") for path, table in tables.items()}

    def draw(self) -> None:
        """Writes the tables and charts."""
        dataset = self.description["dataset"]
        for path, text in self.tables().items():
            write_text(path, text)
        save(charts.comparison(self.comparison, f"Architectures on {dataset}"), COMPARISON_CHART)
        save(charts.training_curves(self.training, f"Training on {dataset}"), TRAINING_CHART)

    def page(self, inputs: str) -> str:
        """The self-contained HTML page with the pictures in `plots`; `inputs` is the digest that it bears."""
        return render(
            "overview.html.j2",
            inputs=inputs,
            description=self.description,
            comparison=self.comparison,
            sections=self.findings,
            picture=_picture,
        )


def _read_findings(name: str, params: Params, classes: int) -> Findings:
    return Findings.read(name, results.metrics(name), results.predictions(name), params.report, classes)


def _picture(path: str) -> str:
    content = WORKSPACE.read(PLOTS / path)
    return data_uri(present(PLOTS / path, content, f"report@{Path(path).stem}"))
