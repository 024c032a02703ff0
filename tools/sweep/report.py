"""Writes the results of a search: tables, Optuna's pictures, and the winner as a block for params.yaml."""

import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.trial import FrozenTrial, TrialState

from stages.common.files import write_text
from tools.sweep.search import MISTAKE, Finalist, Search

WIDTH = 118  # of a line of the block, as params.yaml has
PICTURES = {
    "history": ("plot_optimization_history", "Accuracy on held-out images, trial by trial"),
    "curves": ("plot_intermediate_values", "Accuracy after each epoch; short curves were ended early"),
    "importances": ("plot_param_importances", "How much of the difference between trials each value explains"),
    "slices": ("plot_slice", "Accuracy against each value"),
}


def write_report(search: Search, finalists: list[Finalist], seeds: list[int]) -> str:
    """Writes README.md, trials.csv, the pictures and the winner's block into the search's folder.

    Returns:
        The winner's block, as text for params.yaml.
    """
    winner = block_text(search.space.name, finalists[0].block)
    write_text(search.folder / f"{search.space.name}.yaml", winner)
    write_text(search.folder / "trials.csv", trials_table(search.finished).to_csv(index=False, lineterminator="\n"))
    parts = [
        f"# Search: {search.space.name}",
        f"{_counts(search.finished)} All figures are accuracies on training images that were held out; the test images "
        "had no part in it. The winner was chosen by these figures, so on new images it is likely a little worse.",
        "## Finalists",
        _markdown(finalists_table(finalists, seeds)),
        "## Winner",
        f"```yaml\n{winner}```",
        "## Trials",
        *(f"{title}:\n\n![{title}]({name}.png)" for name, title in _draw(search)),
        "`trials.csv` has each trial with its values.",
    ]
    write_text(search.folder / "README.md", "\n\n".join(parts) + "\n")
    return winner


def block_text(name: str, block: dict[str, Any]) -> str:
    """Returns a block as params.yaml has it: indented, and each layer in one line."""
    text = yaml.safe_dump({name: block}, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def trials_table(trials: list[FrozenTrial]) -> pd.DataFrame:
    """Returns a row for each trial: its number, state, accuracy, the values that were searched, and why it failed."""
    rows = []
    for trial in trials:
        row = {"trial": trial.number, "state": trial.state.name.lower(), "accuracy": trial.value}
        rows.append(row | trial.params | {"mistake": trial.user_attrs.get(MISTAKE)})
    table = pd.DataFrame(rows)
    return table[[*(column for column in table if column != "mistake"), "mistake"]]


def finalists_table(finalists: list[Finalist], seeds: list[int]) -> pd.DataFrame:
    """Returns a row for each finalist: the mean and each seed's accuracy, as percentages."""
    rows = []
    for finalist in finalists:
        row = {"trial": finalist.trial, "mean": f"{finalist.mean:.2%}"}
        rows.append(
            row | {f"seed {seed}": f"{value:.2%}" for seed, value in zip(seeds, finalist.accuracies, strict=True)}
        )
    return pd.DataFrame(rows)


def _counts(trials: list[FrozenTrial]) -> str:
    complete, pruned, failed = (
        sum(trial.state == state for trial in trials)
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    counts = f"{len(trials)} trial{'s' * (len(trials) != 1)}: {complete} complete, {pruned} ended early"
    return f"{counts}, {failed} failed." if failed else f"{counts}."


def _markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---:"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _draw(search: Search) -> Iterator[tuple[str, str]]:
    """Draws Optuna's pictures; yields the names and titles of those that these trials allow."""
    for name, (plot, title) in PICTURES.items():
        target = {} if name == "curves" else {"target_name": "accuracy"}
        try:
            with warnings.catch_warnings(action="ignore"):  # its Matplotlib pictures are experimental, and say so
                axes = np.ravel(getattr(optuna.visualization.matplotlib, plot)(search.study, **target))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            continue
        if name == "curves":
            axes[0].legend().remove()  # a line for each trial
        if name == "slices":
            axes[0].figure.set_size_inches(2.5 * len(axes) + 1, 4)
            for axis in axes:  # long names get room
                axis.set_xlabel(axis.get_xlabel().replace(".", ".\n"), fontsize=8)
        axes[0].figure.savefig(search.folder / f"{name}.png", dpi=100, bbox_inches="tight")
        plt.close(axes[0].figure)
        yield name, title
