"""Draws DVC's charts as PNG files, without a browser, for use in Markdown (`make preview`).

Draws the charts of `dvc plots show`; with a base revision, those of `dvc plots diff` whose data file differs.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from stages.common.files import replacing
from stages.support.errors import PipelineError, command, one_line
from tools.common.revision import WORKSPACE, Revision
from tools.plots.page import VEGA_LITE, converter

FOLDER = Path("preview")  # emptied by each run
SCALE = 1.5  # pixels per unit; pictures are 730 to 1370 pixels wide


def specs(base: Revision | None) -> dict[str, dict]:
    """Returns the Vega-Lite specifications of the charts, including data, by the path of the data file."""
    with tempfile.TemporaryDirectory() as pictures:
        what = ["diff", base.name] if base else ["show"]
        plots = ["dvc", "plots", *what, "--json", "--out", pictures]
        done = subprocess.run(plots, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"dvc plots {what[0]}: {one_line(done.stderr)}")
    charts = {path: entries[0] for path, entries in json.loads(done.stdout)["data"].items() if entries}
    return {path: entry["content"] for path, entry in charts.items() if entry["type"] == "vega"}


@command
def main() -> None:
    """Draws DVC's charts of the workspace as PNG files."""
    parser = argparse.ArgumentParser(prog="python -m tools.plots.preview", description=main.__doc__)
    parser.add_argument("base", nargs="?", help="a git revision; draws only charts that differ, before and after")
    name = parser.parse_args().base

    vl_convert = converter()
    base = Revision.find(name) if name else None
    charts = {path: spec for path, spec in specs(base).items() if not base or base.read(path) != WORKSPACE.read(path)}
    shutil.rmtree(FOLDER, ignore_errors=True)
    for path, spec in charts.items():
        picture = (FOLDER / Path(path).relative_to("plots")).with_suffix(".png")
        with replacing(picture) as partial:
            partial.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE))
        print(picture)
    if not charts:
        print(f"no chart differs from {base}")


if __name__ == "__main__":
    main()
