"""Names the paths of all results, relative to the project's folder, and checks whether the overview is current."""

import hashlib
from pathlib import Path

from stages.support.params import PARAMS_PATH, Params

DESCRIPTION = Path("data/raw/mnist.json")  # of the data set
METRICS, PLOTS = Path("metrics"), Path("plots")

MODELS = Path("data/models")
TRAINING_DATA, TEST_DATA = Path("data/prepared/train"), Path("data/prepared/test")  # arrays

# For all architectures together, drawn by `make overview`
COMPARISON, TRAINING = PLOTS / "comparison.csv", PLOTS / "training.csv"
COMPARISON_CHART, TRAINING_CHART = PLOTS / "comparison.png", PLOTS / "training.png"
OVERVIEW = PLOTS / "report.html"
OVER_ALL = (COMPARISON, TRAINING, COMPARISON_CHART, TRAINING_CHART, OVERVIEW)

REVIEW = Path("review")
REPRODUCED = REVIEW / "reproduced.json"  # the findings of `make reproduce`


def metrics(name: str) -> Path:
    """The metrics of an architecture: means over its seeds."""
    return METRICS / f"{name}.json"


def history(name: str) -> Path:
    """Its loss and accuracy per epoch."""
    return PLOTS / "history" / f"{name}.csv"


def predictions(name: str) -> Path:
    """The predictions of its models for every test image, and the histories of their trainings."""
    return METRICS / "predictions" / f"{name}.json"


def confusion(name: str) -> Path:
    """The picture of its confusion matrix."""
    return PLOTS / "confusion" / f"{name}.png"


def worst_errors(name: str) -> Path:
    """The picture of its most confident errors."""
    return PLOTS / "worst_errors" / f"{name}.png"


def errors(name: str) -> Path:
    """The images of its most confident errors, pixel for pixel."""
    return PLOTS / "errors" / f"{name}.png"


def errors_table(name: str) -> Path:
    """The table of its errors, a row for each image in `errors`, and for the others."""
    return PLOTS / "tables" / name / "errors.csv"


def model(name: str, seed: int) -> Path:
    """The model trained with this seed."""
    return MODELS / name / f"{seed}.keras"


def overview_inputs(params: Params) -> str:
    """Computes the SHA-256 of all that the overview depends on: results, params, code, its own tables and charts."""
    shown = [path(name) for name in sorted(params.architectures) for path in (predictions, confusion, worst_errors)]
    files = sorted(path for folder in ("stages", "tools") for path in Path(folder).rglob("*"))
    code = [path for path in files if path.suffix in (".py", ".j2", ".css", ".html")]
    drawn = [path for path in OVER_ALL if path != OVERVIEW]
    digest = hashlib.sha256()
    for path in [PARAMS_PATH, DESCRIPTION, *shown, *code, *drawn]:
        content = path.read_bytes() if path.exists() else b"missing"
        digest.update(f"{path}\n".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def overview_is_current(params: Params) -> bool:
    """Whether the overview was drawn from the files in the workspace, by the digest it contains."""
    inputs = f'content="{overview_inputs(params)}"'
    return OVERVIEW.exists() and inputs in OVERVIEW.read_text(encoding="utf-8")[:1000]
