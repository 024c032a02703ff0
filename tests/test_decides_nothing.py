"""What no stage depends on decides no result: environment variables, files in a home, locale, terminal, umask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from matplotlib import get_data_path

from .conftest import Project

VARIABLES = {
    "COLUMNS": "40",
    "CUDA_VISIBLE_DEVICES": "0",
    "FORCE_COLOR": "1",
    "FREETYPE_PROPERTIES": "truetype:interpreter-version=35",  # draws letters otherwise
    "HB_SHAPER_LIST": "fallback",  # places letters otherwise
    "HDF5_DRIVER": "stdio",
    "HDF5_VOL_CONNECTOR": "no_such",
    "JUPYTER_COLUMNS": "40",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "many",  # no number, on which Keras would end
    "KERAS_NNX_ENABLED": "true",
    "LC_ALL": "C",
    "MPLCONFIGDIR": "settings",
    "NVIDIA_TF32_OVERRIDE": "1",
    "PILLOW_ALIGNMENT": "64",
    "PYTHONHASHSEED": "7",
    "SCIPY_ARRAY_API": "1",
    "SKLEARN_ASSUME_FINITE": "1",
    "SOURCE_DATE_EPOCH": "1",
    "TERM": "dumb",
    "TZ": "Pacific/Chatham",
}
PICTURES = "font.size: 17\naxes.grid: True\nsavefig.bbox: tight\n"
FILES = {
    "project/matplotlibrc": PICTURES,
    "project/settings/matplotlibrc": PICTURES,
    "home/.config/matplotlib/matplotlibrc": PICTURES,
    "home/.keras/keras.json": '{"backend": "jax", "floatx": "bfloat16", "epsilon": 1, "image_data_format": "x"}',
}


@pytest.fixture
def odd(project: Project, tmp_path: Path) -> Project:
    """The project in odd surroundings: `VARIABLES` are for `in_odd_surroundings`."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    font = TTFont(Path(get_data_path(), "fonts/ttf/DejaVuSerif.ttf"))  # with the family name of matplotlib's own
    for record in font["name"].names:
        name = record.toUnicode().replace("Serif", "Sans")
        font["name"].setName(name, record.nameID, record.platformID, record.platEncID, record.langID)
    (tmp_path / "home/.fonts").mkdir()
    font.save(tmp_path / "home/.fonts/DejaVuSans.ttf")
    return project


def in_odd_surroundings(project: Project, *command: str) -> None:
    home = project.path.parent / "home"
    environment = os.environ | VARIABLES | {"HOME": str(home), "KERAS_HOME": str(home / ".keras")}
    line = [sys.executable, "-m", *command]
    subprocess.run(line, cwd=project.path, env=environment, umask=0o077, capture_output=True, check=True)


def test_data_and_pictures(odd: Project) -> None:
    before = {path.name: path.read_bytes() for path in [*odd.path.glob("data/raw/*"), odd.path / "plots/samples.png"]}
    in_odd_surroundings(odd, "stages.fetch", "new/mnist.npz", "new/mnist.json")
    in_odd_surroundings(odd, "stages.preprocess", "new/mnist.npz", "new/mnist.json", "new/data", "new/samples.png")
    assert {path.name: path.read_bytes() for path in (odd.path / "new").glob("*.*")} == before
    for path in (odd.path / "data/prepared").glob("*/*"):
        assert (odd.path / "new/data" / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_models_and_predictions(odd: Project) -> None:
    (odd.path / "dvc.lock").unlink()  # so that no model is taken from DVC's cache
    in_odd_surroundings(odd, "stages.train", "mlp_256", "data/prepared/train", "new/mlp_256")
    for path in (odd.path / "data/models/mlp_256").iterdir():
        assert (odd.path / "new/mlp_256" / path.name).read_bytes() == path.read_bytes()
    written = ("new/predictions.json", "new/metrics.json")
    in_odd_surroundings(odd, "stages.evaluate", "mlp_256", "data/prepared/test", "new/mlp_256", *written)
    for path, recorded in zip(written, ("predictions/mlp_256", "mlp_256"), strict=True):
        assert (odd.path / path).read_bytes() == (odd.path / f"metrics/{recorded}.json").read_bytes()
    keras = odd.path.parent / "home/.keras"
    assert [path.name for path in keras.iterdir()] == ["keras.json"]
    assert (keras / "keras.json").read_text() == FILES["home/.keras/keras.json"]
