"""The measurements of `make bench`, one function per part. Each returns the raw seconds and bytes of one round."""

import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.archive import Archive, read_archive, write_archive
from stages.fetch import keras_cache
from stages.support.params import PARAMS_PATH, load_params
from stages.support.yaml import read_yaml, to_yaml
from tools.bench.table import GROWTH, NETS, Raw
from tools.common.lock import LOCK, read_lock
from tools.common.results import TRAINING_DATA
from tools.common.surroundings import Run, copy_project, plain_user

TUTORIAL = Path(__file__).with_name("tutorial.py")
PYTHON = sys.executable
REPEATED = 3  # repetitions of short commands per round
OTHER = {"Adam": {"learning_rate": 0.001001}}  # as much work, another result
SMALL = {
    "layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}],
    "fit": {"epochs": 1, "batch_size": 100},
}


def seconds(run: Run, *command: str) -> float:
    """Wall time of one command, in seconds."""
    start = time.perf_counter()
    run.execute(command)
    return time.perf_counter() - start


def project(folder: Path) -> Run:
    """Copies this project as a fresh clone, without results, cache or data, but with this environment."""
    run = plain_user(folder.name, folder)
    copy_project(run.project)
    shutil.copy(LOCK, run.project)
    (run.project / ".venv").symlink_to(Path(".venv").absolute())
    run.execute(["git", "init", "--quiet"])
    return run


def edit(run: Run, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes params.yaml."""
    path = run.project / PARAMS_PATH
    content = read_yaml(path)
    change(content)
    path.write_text(to_yaml(content))


def rivals(run: Run) -> list[str]:
    """The architectures of a project for which the tutorials have a script.

    Of the copy made at the start of a round, so that params.yaml can be edited meanwhile.
    """
    return [name for name in load_params(run.project / PARAMS_PATH).architectures if name in NETS]


def memory_bandwidth() -> list[float]:
    """Bytes per second, read and written, when copying an array far larger than any cache."""
    source = np.ones(1 << 26, np.float32)
    target, rates = np.zeros_like(source), []
    for _ in range(REPEATED):
        start = time.perf_counter()
        np.copyto(target, source)
        rates.append(2 * source.nbytes / (time.perf_counter() - start))
    return rates


def full(folder: Path) -> Raw:
    """A clean full run; then, for each architecture, its tutorial script, and `make repro` after an edit, one seed."""
    raw = defaultdict(list)
    run = project(folder / "project")
    names = rivals(run)
    edit(run, lambda params: params.update(architectures={name: params["architectures"][name] for name in names}))
    raw["seeds"].append(len(load_params(run.project / PARAMS_PATH).train.seeds))
    raw["clean"].append(seconds(run, "make", "repro"))
    edit(run, _one_seed)  # as a script trains once
    run.execute(["make", "repro"])
    for name in names:
        raw[f"script {name}"].append(seconds(run, PYTHON, str(TUTORIAL.absolute()), name))
        edit(run, lambda params, name=name: params["architectures"][name].update(compile={"optimizer": OTHER}))
        raw[f"edited {name}"].append(seconds(run, "make", "repro"))
    return raw


def _one_seed(params: dict[str, Any]) -> None:
    params["train"]["seeds"] = params["train"]["seeds"][:1]


def loop(folder: Path) -> Raw:
    """Epochs of the tutorial's `fit`, and of ours with native and with portable kernels, in turn."""
    raw = defaultdict(list)
    run = project(folder / "project")
    (run.project / TRAINING_DATA).parent.mkdir(parents=True, exist_ok=True)
    (run.project / TRAINING_DATA).symlink_to(TRAINING_DATA.absolute())
    for name in rivals(run):
        for who in ("tutorial", "native", "portable"):
            printed = subprocess.run(
                [PYTHON, "-m", "tools.bench.loop", who, name],
                cwd=run.project,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            found = json.loads(printed.splitlines()[-1])
            raw[f"{who} {name} images/s"] += [found["images"] / each for each in found["seconds"]]
            raw[f"peak {who}"].append(found["peak"])
            if who == "portable":
                raw[f"share {name}"] += [found["flop"] / each / found["peak"] for each in found["seconds"]]
    return raw


def trivial(folder: Path, stages: int, like: Run | None = None) -> Run:
    """Makes a DVC project of trivial stages, with as many dependencies, params and outputs as `like`, if given."""
    run = plain_user(folder.name, folder)
    run.execute(["git", "init", "--quiet"])
    (run.project / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    content = {f"s{number}": {"cmd": f"echo {number} > o{number}", "outs": [f"o{number}"]} for number in range(stages)}
    if like:
        content = dict(_alike(run, like))
    (run.project / "dvc.yaml").write_text(json.dumps({"stages": content}))
    run.execute(["dvc", "repro"])
    return run


def _alike(run: Run, like: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    shutil.copy(like.project / PARAMS_PATH, run.project)
    for name, stage in read_lock(like.project / LOCK).items():
        deps, outs = ([f"{name}/{kind}{i}" for i in range(len(stage.get(kind, ())))] for kind in ("deps", "outs"))
        for dep in deps:
            (run.project / dep).parent.mkdir(exist_ok=True)
            (run.project / dep).write_text(dep)
        keys = list(stage.get("params", {}).get(str(PARAMS_PATH), ()))
        command = "; ".join(f"echo {out} > {out}" for out in outs)
        yield name.replace("@", "-"), {"cmd": command, "deps": deps, "params": keys, "outs": outs}


def overhead(folder: Path) -> Raw:
    """`dvc repro` with nothing to do, here and with trivial stages; undoing an edit; all reports. Uses offline data."""
    run = project(folder / "project")
    edit(run, _small)
    run.execute(["make", "repro"])
    stages = len(read_lock(run.project / LOCK))
    bare, alike = trivial(folder / "bare", stages), trivial(folder / "alike", stages, run)
    raw = defaultdict(list)
    raw["stages"].append(stages)
    repro = ("dvc", "repro")
    for number in range(REPEATED):
        raw["nothing"].append(seconds(run, *repro))
        raw["bare"].append(seconds(bare, *repro))
        raw["alike"].append(seconds(alike, *repro))
        raw["make repro, nothing"].append(seconds(run, "make", "repro"))
        before = (run.project / PARAMS_PATH).read_bytes()
        edit(run, lambda params: next(iter(params["architectures"].values()))["fit"].update(batch_size=9))
        run.execute(repro)
        (run.project / PARAMS_PATH).write_bytes(before)
        raw["undo"].append(seconds(run, *repro))
        edit(run, lambda params, number=number: params["report"].update(confused_pairs=20 + number))
        raw["reports, dvc repro"].append(seconds(run, *repro))
        edit(run, lambda params, number=number: params["report"].update(worst_errors=24 - number))
        raw["reports, make repro"].append(seconds(run, "make", "repro"))  # leaves nothing to do
    return raw


def _small(params: dict[str, Any]) -> None:
    """Sets offline data, one seed and one epoch."""
    _one_seed(params)
    params["data"]["sources"] = [params["data"]["sources"][-1]]
    for architecture in params["architectures"].values():
        architecture["fit"]["epochs"] = 1


def memory(folder: Path) -> Raw:
    """Time and peak memory of preprocess, on the data set repeated 1, 4 and 16 times."""
    raw = defaultdict(list)
    archive = read_archive(keras_cache() / "mnist.npz")
    run = project(folder / "project")
    (run.project / "mnist.json").write_text(json.dumps({"dataset": "MNIST", "classes": 10, "sha256": ""}))
    for times in (1, 4, 16):
        repeated = (np.concatenate([each] * times) for each in (archive.x_train, archive.y_train))
        write_archive(run.project / "mnist.npz", Archive(*repeated, archive.x_test, archive.y_test))
        for _ in range(REPEATED):
            command = [PYTHON, "-m", "stages.preprocess", "mnist.npz", "mnist.json", "prepared", "samples.png"]
            taken, peak = _measured(command, run.project)
            raw[f"seconds {times}"].append(taken)
            raw[f"bytes {times}"].append(peak)
        shutil.rmtree(run.project / "prepared")
    return raw


def _measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall time in seconds and peak memory in bytes of a command."""
    start, log = time.perf_counter(), folder / "log"
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    with log.open("wb") as stream:
        subprocess.run([PYTHON, "-c", code, *command], cwd=folder, stdout=stream, check=True)
    kilobytes = int(log.read_text())
    return time.perf_counter() - start, 1024 * kilobytes


def growth(folder: Path, architectures: int) -> Raw:
    """A clean run and a run with nothing to do, with this many small architectures; and bare DVC. Offline data."""
    raw = defaultdict(list)
    run = project(folder / "project")
    edit(run, lambda params: _many(params, architectures))
    raw[f"clean {architectures}"].append(seconds(run, "make", "repro"))
    start = time.perf_counter()
    bare = trivial(folder / "bare", 2 + 3 * architectures)
    raw[f"bare clean {architectures}"].append(time.perf_counter() - start)
    for _ in range(REPEATED):
        raw[f"nothing {architectures}"].append(seconds(run, "dvc", "repro"))
        raw[f"bare nothing {architectures}"].append(seconds(bare, "dvc", "repro"))
    return raw


def _many(params: dict[str, Any], count: int) -> None:
    _small(params)
    params["architectures"] = {f"small_{number}": deepcopy(SMALL) for number in range(count)}


PARTS = {"full": full, "loop": loop, "overhead": overhead, "memory": memory}
PARTS |= {f"growth-{count}": update_wrapper(partial(growth, architectures=count), growth) for count in GROWTH}
