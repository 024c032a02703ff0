"""Writes the results of a search: tables, Optuna's pictures, and the winner as a block for params.yaml."""

import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import yaml

from stages.common.files import write_text
from stages.support.yaml import WIDTH
from tools.sweep.search import Search

PICTURES = {
    "optimization_history": "Accuracy on held-out images, trial by trial",
    "intermediate_values": "Accuracy after each epoch; short curves were ended early",
    "param_importances": "How much of the difference between trials each value explains",
    "slice": "Accuracy against each value",
}


def write_report(search: Search, finalists: pd.DataFrame, block: dict[str, Any]) -> str:
    """Writes README.md, trials.csv, the pictures and the winner's block into the search's folder.

    Returns:
        The winner's block, as text for params.yaml.
    """
    winner = block_text(search.space.name, block)
    write_text(search.folder / f"{search.space.name}.yaml", winner)
    trials = search.study.trials_dataframe(("number", "state", "value", "params", "user_attrs"))
    write_text(search.folder / "trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    parts = [
        f"# Search: {search.space.name}",
        "All figures are accuracies on training images that were held out; the test images had no part in it. The "
        "winner was chosen by these figures, so on new images it is likely a little worse.",
        "## Finalists",
        finalists.to_markdown(floatfmt=".2%"),
        "## Winner",
        f"```yaml\n{winner}```",
        "## Trials",
        "`trials.csv` has each trial with its values.",
        trials.state.value_counts().to_markdown(),
        *(f"{title}:\n\n![{title}]({name}.png)" for name, title in _draw(search)),
    ]
    write_text(search.folder / "README.md", "\n\n".join(parts) + "\n")
    return winner


def block_text(name: str, block: dict[str, Any]) -> str:
    """Returns a block as params.yaml has it: indented, and each layer in one line."""
    text = yaml.safe_dump({name: block}, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _draw(search: Search) -> Iterator[tuple[str, str]]:
    """Draws Optuna's pictures; yields the names and titles of those that these trials allow."""
    for name, title in PICTURES.items():
        try:
            with warnings.catch_warnings(action="ignore"):  # its Matplotlib pictures are experimental, and say so
                axes = np.ravel(getattr(optuna.visualization.matplotlib, f"plot_{name}")(search.study))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            continue
        for axis in axes:  # long names get room
            axis.set_xlabel(axis.get_xlabel().replace(".", ".\n"), fontsize=8)
        axes[0].figure.savefig(search.folder / f"{name}.png", bbox_inches="tight")
        plt.close(axes[0].figure)
        yield name, title
