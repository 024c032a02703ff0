"""`make sweep SPACE=FILE`: searches for the best architecture of a space, by its accuracy on held-out training images.

Each trial is a training by stages/train.py. Trials are proposed and compared by Optuna. The test images have no part
in it.
"""

import argparse
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stages.common.prepared import IMAGES
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, load_params
from stages.support.resources import cluster_address, trainings_at_once
from stages.support.yaml import read_yaml
from tools.common.arguments import number
from tools.common.recipes import add_architecture, check_is_new
from tools.common.results import TRAINING_DATA
from tools.sweep.report import finalists_table, write_report
from tools.sweep.search import Search
from tools.sweep.space import Space
from tools.sweep.training import Place, here, on_cluster

SWEEPS = Path("sweeps")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make sweep", description=main.__doc__)
    space = "a file with one architecture, in which {choice: […]} and {range: […]} are searched"
    parser.add_argument("space", type=Path, help=space)
    trials = "how many to end with; by default 30"
    parser.add_argument("--trials", type=number(1), default=30, metavar="N", help=trials)
    finalists = "trials that are trained with all seeds; by default 3"
    parser.add_argument("--finalists", type=number(1), default=3, metavar="N", help=finalists)
    seeds = "of finalists; by default train.seeds"
    parser.add_argument("--seeds", type=number(0, most=2**32 - 1), nargs="+", metavar="SEED", help=seeds)
    jobs = "trainings at once; by default what cores and memory allow"
    parser.add_argument("--jobs", type=number(1), metavar="N", help=jobs)
    parser.add_argument("--write", action="store_true", help="add the winner to params.yaml")
    return parser.parse_args()


@command
def main() -> None:
    """Searches for the best architecture of a space, by its accuracy on held-out training images."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

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
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PipelineError(f"{folder}: another sweep runs in this folder; wait for its end") from error
        prepare = [sys.executable, "-m", "tools.repro", "preprocess"]  # if that is outdated
        if status := subprocess.run(prepare, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(status)  # it has printed why
        with _progress() as progress:
            search = Search(space, content, folder, _place(arguments.jobs, params.train.kernels), progress)
            search.run(arguments.trials)
            finalists = search.finalists(arguments.finalists, seeds)
        if not finalists:
            raise PipelineError(f"{space.path}: no finalist could be trained with seeds {', '.join(map(str, seeds))}")
        block = write_report(search, finalists, seeds)
    print(finalists_table(finalists, seeds).to_string(index=False))
    print(f"\n{block}\n{folder / 'README.md'}: table and pictures")
    if arguments.write:
        add_architecture(space.name, block)


def _place(jobs: int | None, kernels: str) -> Place:
    """Returns this machine, or the Ray cluster that the environment names."""
    address = cluster_address(kernels)
    if address:
        return on_cluster(address)
    return here(jobs or (1 if kernels == "native" else trainings_at_once((TRAINING_DATA / IMAGES).stat().st_size)))


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    main()
