"""Turns a clone of this project into one of your own data, without the results, studies and wording of MNIST."""

import argparse
import os
import re
import shutil
from pathlib import Path
from string import Template
from typing import Any

from stages.common.files import replacing, write_text
from stages.data.archive import Archive
from stages.data.folders import list_folder
from stages.data.places import OWN
from stages.fetch import read_place
from stages.support.errors import PipelineError, command
from stages.support.params import PARAMS_PATH, Source, parse_params
from stages.support.yaml import to_yaml
from tools.common.arguments import confirmed
from tools.common.git import git
from tools.common.templates import escaped
from tools.start.recipes import architectures, choose_form

GONE = ["metrics", "plots", "dvc.lock", "data/raw", "data/prepared", "data/models", ".checkpoints", "research"]
GONE += ["CHANGELOG.md", ".github/comparison.png", ".github/review.png"]
GONE += [f"tests/test_{name}.py" for name in ("project", "docs", "research")]
MARKED = r"(?s)\s*<!-- MNIST -->.*?<!-- end -->"  # in README and docs
DVC_YAML, README = Path("dvc.yaml"), Path("README.md")


def read(data: Path) -> tuple[Archive, dict[str, Any]]:
    """Reads all the data, and returns their source for params.yaml. Raises `PipelineError` if they cannot be read."""
    if not (data.is_dir() or (data.is_file() and data.suffix == ".npz")):
        raise PipelineError(f"{data}: expected a folder of pictures or a .npz file; run: make start DATA=FOLDER")
    data, own = data.resolve(), OWN.resolve()
    name, suffix = (data.name, "") if data.is_dir() else (data.stem, ".npz")
    place = OWN / (data.relative_to(own) if own in data.parents else re.sub(r"[^\w-]+", "_", name) + suffix)
    if place.exists() and own not in data.parents:
        raise PipelineError(f"{place}: is there already; run: make start DATA={place}; or delete it first")
    source: dict[str, Any] = {"dataset": name, "places": [str(place)]}
    if data.is_dir():
        train, test, _ = list_folder(data, Source.model_validate(source).test_share)
        source |= choose_form([*train, *test])
    try:
        return read_place(str(data), Source.model_validate(source)), source
    except PipelineError as error:
        if "first_label" not in str(error):
            raise
        source["first_label"] = 1
        return read_place(str(data), Source.model_validate(source)), source


def with_lines(text: str, key: str, lines: str = "") -> str:
    """Replaces what stands below a key, indented deeper; the key's own line keeps its comment, or goes too."""
    block = re.compile(rf"^( *){key}:.*\n(?:\1 .*\n|\n(?=\1 ))*", re.MULTILINE)
    return block.sub(lambda match: match[0].partition("\n")[0] + f"\n{lines}" if lines else "", text, count=1)


def edited(archive: Archive, source: dict[str, Any], counts: str) -> dict[Path, str]:
    """Returns the new text of params.yaml, dvc.yaml, README and docs. Raises `PipelineError` if it is not valid."""
    texts = {page: page.read_text(encoding="utf-8") for page in (*Path().glob("*.md"), *Path("docs").glob("*.md"))}
    template = Template(Path(__file__).with_name("README.md").read_text(encoding="utf-8"))
    readme = template.substitute(name=escaped(source["dataset"]), counts=counts)
    texts[README] = readme + "".join(texts[README].partition("## Layout")[1:])
    texts = {page: re.sub(MARKED, "", text) for page, text in texts.items() if str(page) not in GONE}
    texts[DVC_YAML] = with_lines(DVC_YAML.read_text(encoding="utf-8"), "artifacts").rstrip() + "\n"
    lines = "".join(f"      {to_yaml({key: value}, flow=True).strip()[1:-1]}\n" for key, value in source.items())
    params = with_lines(PARAMS_PATH.read_text(encoding="utf-8"), "sources", f"    - {lines.lstrip()}")
    params = with_lines(with_lines(params, "published"), "architectures", architectures(archive))
    parse_params(params.encode(), str(PARAMS_PATH))
    return texts | {PARAMS_PATH: params}


@command
def main() -> None:
    """Starts a project of your own data: deletes what holds for MNIST alone, and edits params.yaml, README and docs."""
    parser = argparse.ArgumentParser(prog="python -m tools.start", description=main.__doc__)
    parser.add_argument("data", type=lambda text: Path(text).expanduser(), help="a folder of pictures, or a .npz file")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    arguments = parser.parse_args()
    if changed := git("status", "--porcelain", "--", ".").decode(errors="replace").splitlines():
        hint = "commit or stash them; data belong outside of the project, or in data/own/"
        raise PipelineError(f"uncommitted changes, such as {changed[0][3:]}", hint)
    archive, source = read(arguments.data)
    images = f"{len(archive.x_train):,} training and {len(archive.x_test):,} test images"
    texts = edited(archive, source, counts := f"{images} of {archive.classes} classes")
    gone = [Path(name) for name in GONE if os.path.lexists(name)]
    print(f"{source['dataset']}: {counts}\nto delete:", *gone, sep="\n", flush=True)
    if not (arguments.yes or confirmed("delete these?", f"make start DATA={arguments.data} YES=1")):
        print("nothing deleted")
        return
    if not (place := Path(source["places"][0])).exists():
        with replacing(place) as partial:
            try:
                (shutil.copytree if arguments.data.is_dir() else shutil.copyfile)(arguments.data, partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    for path in gone:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path, text in texts.items():
        write_text(path, text)
    if form := source.get("image"):
        print(f"the pictures differ or are large, so params.yaml has image: {to_yaml(form, flow=True).strip()}")
    print(f"next: git add -A, git commit, make repro; to go back: git restore . ({place} stays)")


if __name__ == "__main__":
    main()
