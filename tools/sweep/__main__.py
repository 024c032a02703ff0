"""`make sweep SPACE=FILE`: searches for the best architecture of a space, by its accuracy on held-out training images.

Optuna proposes and compares trials. The test images have no part in it.
"""

import argparse
import fcntl
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stages.common.kernels import Kernels
from stages.common.prepared import IMAGES
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, load_params
from stages.support.resources import cluster_address, trainings_at_once
from stages.support.versions import check_versions
from stages.support.yaml import read_yaml
from tools.common.arguments import number
from tools.common.recipes import add_architecture, check_is_new
from tools.common.results import TRAINING_DATA
from tools.sweep.report import write_report
from tools.sweep.search import Search
from tools.sweep.space import Space
from tools.sweep.training import Train, here, on_cluster

SWEEPS = Path("sweeps")
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def parse_arguments() -> argparse.Namespace:
    usage = 'make sweep SPACE=FILE [TRIALS=N] [FINALISTS=N] [SEEDS="S …"] [JOBS=N] [WRITE=1]'
    parser = argparse.ArgumentParser(prog="make sweep", usage=usage, description=main.__doc__)
    add = parser.add_argument
    add(
        "space",
        type=Path,
        metavar="SPACE",
        help="an architecture, in which {choice: […]} and {range: […]} are searched",
    )
    add("--trials", type=number(1), default=30, metavar="N", help="how many to end with; by default 30")
    add("--finalists", type=number(1), default=3, metavar="N", help="trials to train with all seeds; by default 3")
    add("--seeds", type=number(0, most=2**32 - 1), nargs="+", help="of finalists; by default train.seeds")
    add("--jobs", type=number(1), metavar="N", help="trainings at once; by default what cores and memory allow")
    add("--write", action="store_true", help="add the winner to params.yaml")
    return parser.parse_args()


@command
def main() -> None:
    """Searches for the best architecture of a space, by its accuracy on held-out training images."""
    arguments = parse_arguments()
    check_versions("common", "models")
    params, content = load_params(), read_yaml(PARAMS_PATH)
    space = Space.read(arguments.space)
    space.check(content)
    if arguments.write:
        check_is_new(space.name)
    seeds = list(dict.fromkeys(arguments.seeds or params.train.seeds))
    folder = SWEEPS / space.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PipelineError(f"{folder}: another sweep runs in this folder; wait for its end") from error
        prepare = [sys.executable, "-m", "tools.repro", "preprocess"]  # if that is outdated
        if status := subprocess.run(prepare, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(status)  # it has printed why
        train = _trainer(arguments.jobs, params.train.kernels)
        with Progress(
            *COLUMNS, console=Console(stderr=True), auto_refresh=False, disable=not sys.stderr.isatty()
        ) as bars:
            search = Search(space, content, folder, train, bars)
            search.run(arguments.trials)
            finalists, blocks = search.finalists(arguments.finalists, seeds)
        if finalists.empty:
            raise PipelineError(f"{space.path}: no finalist could be trained with seeds {', '.join(map(str, seeds))}")
        block = write_report(search, finalists, blocks[finalists.index[0]])
    print(finalists.to_string(float_format="{:.2%}".format))
    print(f"\n{block}\n{folder / 'README.md'}: table and pictures")
    if arguments.write:
        add_architecture(space.name, block)


def _trainer(jobs: int | None, kernels: Kernels) -> Train:
    """Returns what trains: this machine, or the Ray cluster that the environment names."""
    if address := cluster_address(kernels):
        return on_cluster(address)
    size = (TRAINING_DATA / IMAGES).stat().st_size
    return here(jobs or (1 if kernels == "native" else trainings_at_once(size)), kernels)


if __name__ == "__main__":
    main()
