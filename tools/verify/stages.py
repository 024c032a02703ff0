"""Runs the commands of some stages, one after the other: python -m tools.verify.stages 'python -m stages.fetch …' …

Each module of `stages` runs in a fork of this process, which has imported its libraries. On an emulated processor an
import of TensorFlow takes half a minute, longer than all the stages: so they share one.
"""

import importlib
import multiprocessing
import runpy
import shlex
import subprocess
import sys

KERAS = ("stages.train", "stages.evaluate")


def run(command: str) -> int:
    """Runs a command of dvc.yaml; returns its exit status."""
    python, option, name, *arguments = [*shlex.split(command), "", "", ""]
    if (python, option) != ("python", "-m") or not name.startswith("stages."):
        return subprocess.run(command, shell=True, check=False).returncode  # noqa: S602
    importlib.import_module(name)
    if name in KERAS:
        importlib.import_module("stages.models.models").import_keras()

    def main() -> None:
        sys.argv = [name, *filter(None, arguments)]
        del sys.modules[name]
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    process.join()
    return process.exitcode or 0


if __name__ == "__main__":
    for stage in sys.argv[1:]:
        print(f"> {stage}", flush=True)
        if run(stage):
            sys.exit(f"{stage}: failed")
