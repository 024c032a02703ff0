"""The page around DVC's charts (`plots.html_template` in .dvc/config), with Vega in it: no network needed.

`dvc plots show` and `dvc plots diff` fill it in. It is in git, so that a fresh clone has it; this command
makes it again from `tools/templates/plots.html` and the JavaScript that vl-convert carries.
"""

import argparse
from pathlib import Path
from types import ModuleType

from stages.common.errors import PipelineError, command
from stages.common.files import write_text

PAGE = Path(".dvc/plots.html")
SHELL = Path("tools/templates/plots.html")
LICENCES = Path("tools/templates/vega-licences.txt")
VEGA_LITE = "5.21"  # of the 5.x that the charts in .dvc/plots/ are written for
NOTICE = """\
<!--
The script below, as vl-convert-python {vl_convert} bundles it, is
Vega {vega}, Vega-Lite {vega_lite}, Vega-Embed {embed} and the modules that they use.

{licences}-->
"""


def converter() -> ModuleType:
    """The module that carries Vega; raises `PipelineError` where it is not installed."""
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise PipelineError("vl_convert: not installed; run: make preview, which installs it") from error
    return vl_convert


def page() -> str:
    """The whole page, with DVC's own placeholders in it."""
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
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    if not parser.parse_args().check:
        write_text(PAGE, page())
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        raise PipelineError(f"{PAGE}: does not match {SHELL}; run: python -m tools.plots_page")


if __name__ == "__main__":
    main()
