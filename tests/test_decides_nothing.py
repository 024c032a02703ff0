"""What no stage depends on decides no result: environment variables, files in a home, locale, terminal, umask."""

import os
import subprocess
import sys
from pathlib import Path

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
PREDICTIONS, PICTURES = "metrics/predictions/mlp_256.json", "font.size: 17\naxes.grid: True\nsavefig.bbox: tight\n"
FILES = {
    "project/matplotlibrc": PICTURES,
    "project/settings/matplotlibrc": PICTURES,
    "home/.config/matplotlib/matplotlibrc": PICTURES,
    "home/.keras/keras.json": '{"backend": "jax", "floatx": "bfloat16", "epsilon": 1, "image_data_format": "x"}',
}


def test_no_data_picture_model_or_prediction_depends_on_the_surroundings(project: Project, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    font = TTFont(Path(get_data_path(), "fonts/ttf/DejaVuSerif.ttf"))  # with the family name of matplotlib's own
    for record in font["name"].names:
        name = record.toUnicode().replace("Serif", "Sans")
        font["name"].setName(name, record.nameID, record.platformID, record.platEncID, record.langID)
    (tmp_path / "home/.fonts").mkdir()
    font.save(tmp_path / "home/.fonts/DejaVuSans.ttf")
    keras, new = tmp_path / "home/.keras", project.path / "new"
    environment = os.environ | VARIABLES | {"HOME": str(tmp_path / "home"), "KERAS_HOME": str(keras)}
    (project.path / "dvc.lock").unlink()  # so that no model is taken from DVC's cache
    for line in (
        "fetch new/data/raw/mnist.npz new/data/raw/mnist.json",
        "preprocess new/data/raw/mnist.npz new/data/raw/mnist.json new/data/prepared new/plots/samples.png",
        "train mlp_256 data/prepared/train new/data/models/mlp_256",
        f"evaluate mlp_256 data/prepared/test new/data/models/mlp_256 new/{PREDICTIONS} new/metrics/mlp_256.json",
    ):
        command = [sys.executable, *f"-m stages.{line}".split()]
        subprocess.run(command, cwd=project.path, env=environment, umask=0o077, capture_output=True, check=True)
    written = [path for path in new.rglob("*") if path.is_file()]
    assert len(written) == 2 + 2 * 3 + 1 + 4 + 2
    for path in written:
        assert path.read_bytes() == (project.path / path.relative_to(new)).read_bytes(), path
    assert [path.name for path in keras.iterdir()] == ["keras.json"]
    assert (keras / "keras.json").read_text() == FILES["home/.keras/keras.json"]
