"""Writes the page around DVC's charts (`plots.html_template` in .dvc/config), which contains Vega and needs no network.

`dvc plots show` and `dvc plots diff` fill it in. The page is in git, so a fresh clone has it. This command
builds it from `tools/common/templates/plots.html` and the JavaScript bundled with vl-convert.
"""

import argparse
from pathlib import Path
from types import ModuleType

from stages.common.files import write_text
from stages.support.errors import PipelineError, command

CHARTS_PAGE = Path(".dvc/plots.html")
SHELL = Path("tools/common/templates/plots.html")
LICENCES = Path("tools/common/templates/vega-licences.txt")
VEGA_LITE = "5.21"  # the charts in .dvc/plots/ are written for 5.x
NOTICE = """\
<!--
The script below, as vl-convert-python {vl_convert} bundles it, is
Vega {vega}, Vega-Lite {vega_lite}, Vega-Embed {embed} and the modules that they use.

{licences}-->
"""


def converter() -> ModuleType:
    """Imports vl_convert, which bundles Vega. Raises `PipelineError` if it is not installed."""
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise PipelineError("vl_convert: not installed; run: make preview, which installs it") from error
    return vl_convert


def page() -> str:
    """Builds the page, with placeholders for DVC."""
    vl_convert = converter()
    notice = NOTICE.format(
        vl_convert=vl_convert.__version__,
        vega=vl_convert.get_vega_version(),
        vega_lite=VEGA_LITE,
        embed=vl_convert.get_vega_embed_version(),
        licences=LICENCES.read_text(encoding="utf-8"),
    )
    script = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
    return SHELL.read_text(encoding="utf-8").replace("{vega}", f"{notice}<script>{script}</script>")


@command
def main() -> None:
    """Writes the page that DVC's charts are shown in."""
    parser = argparse.ArgumentParser(prog="python -m tools.plots.page", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    if not parser.parse_args().check:
        write_text(CHARTS_PAGE, page())
    elif not CHARTS_PAGE.exists() or CHARTS_PAGE.read_text(encoding="utf-8") != page():
        raise PipelineError(f"{CHARTS_PAGE}: out of date with {SHELL}; run: python -m tools.plots.page")


if __name__ == "__main__":
    main()
