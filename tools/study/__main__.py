"""Settles the tutorials' claims over many seeds, and tests the comparison of recipes (`make study`).

Trains docs/studies/params.yaml in a copy of the project, with the project's DVC cache: what it has trained before is
restored. Writes two tables, a page and a picture to docs/studies/.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from stages.common.files import write_text
from stages.results.pictures import save
from stages.results.predictions import Predictions
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, load_params
from stages.support.yaml import read_yaml, to_yaml
from tools.common.predictions import read_predictions
from tools.common.revision import Revision
from tools.common.surroundings import copy_project
from tools.study.claims import CLAIMS, chart, claims_table, page
from tools.study.honesty import honesty_table

FOLDER = Path("docs/studies")
CLAIMED = list(dict.fromkeys(name for claim in CLAIMS for name in claim[:2]))


def train(project: Path, names: list[str], seeds: list[int]) -> dict[str, Predictions]:
    """Trains and evaluates architectures with these seeds, in a copy of the project in an empty folder."""
    copy_project(project)
    cache = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    (project / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n")
    content = read_yaml(project / PARAMS_PATH)
    content["train"]["seeds"] = seeds
    (project / PARAMS_PATH).write_text(to_yaml(content))
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    stages = [f"evaluate@{name}" for name in names]
    done = subprocess.run([sys.executable, "-m", "tools.repro", *stages], cwd=project, check=False)
    if done.returncode:
        raise PipelineError("the trainings failed; see above")
    return {name: read_predictions(Revision("the study", None, project), name) for name in names}


@command
def main() -> None:
    """Trains the recipes with many seeds; writes what follows of the tutorials' claims, and of the comparison."""
    argparse.ArgumentParser(prog="python -m tools.study", description=main.__doc__).parse_args()
    confidence = load_params().overview.confidence
    study = read_yaml(FOLDER / "params.yaml")
    seeds = study["train"]["seeds"]
    last = max(seeds)
    with tempfile.TemporaryDirectory() as folder:
        models = train(Path(folder) / "project", CLAIMED, seeds)
        more = {}
        for name, count in study["more"].items():
            more |= train(Path(folder) / name, [name], [*seeds, *range(last + 1, last + 1 + count)])
    claims, honesty = claims_table(models, confidence), honesty_table(more, confidence)
    for name, table in (("claims", claims), ("honesty", honesty)):
        write_text(FOLDER / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    save(chart(models, confidence), FOLDER / "claims.png")
    write_text(FOLDER / "README.md", page(models, claims, honesty, confidence))
    print(f"{FOLDER}/README.md")


if __name__ == "__main__":
    main()
