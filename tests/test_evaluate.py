"""What evaluate writes: figures worked out by hand, of models that are stood in for."""

import csv
import hashlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages import evaluate
from stages.common.prepared import Dataset

from .conftest import ROOT, TUTORIALS

OUTPUTS = {  # probabilities that the models of two seeds give, for images of the classes 0, 1 and 1 of three
    "10": [[0.5, 0.375, 0.125], [0.25, 0.25, 0.5], [0.125, 0.75, 0.125]],
    "11": [[0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0.5, 0.375, 0.125]],
}
EPOCHS = [(1, "train", "loss", 0.75), (2, "train", "loss", 0.5), (1, "train", "accuracy", 0.5)]
EPOCHS += [(2, "train", "accuracy", 0.75), (2, "validation", "accuracy", 0.625)]
WRITTEN = ("predictions.json", "metrics.json")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that train wrote, in a project with test images; the folder is the current one."""
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"seeds: .*", "seeds: [11, 10]", TUTORIALS.read_text())
    Path("params.yaml").write_text(text.replace("batch_size: 1000\n  decimals: 6", "batch_size: 2\n  decimals: 3"))
    Dataset("digits", 3, (1, 1, 1), 3).write(Path("data"))
    np.save("data/images.npy", images := np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1))
    np.save("data/labels.npy", np.eye(3, dtype=np.float32)[[0, 1, 1]])
    (folder := Path("models")).mkdir()
    for seed in OUTPUTS:
        (folder / f"{seed}.keras").write_text(seed)
        with (folder / f"{seed}.csv").open("w") as stream:
            rows = [["seed", "epoch", "split", "metric", "value"], *((seed, *row) for row in EPOCHS)]
            csv.writer(stream).writerows(rows)

    def load_model(path: Path, name: str, _: object, dataset: Dataset, kernels: str) -> SimpleNamespace:
        assert (name, dataset.classes, kernels) == ("cnn", 3, "portable")

        def predict(given: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
            assert (given.tolist(), batch_size, verbose) == (images.tolist(), 2, 0)
            return np.array(OUTPUTS[path.stem], np.float32)

        return SimpleNamespace(count_params=lambda: 7, predict=predict)

    monkeypatch.setattr(evaluate, "load_model", load_model)
    monkeypatch.setattr(sys, "argv", ["evaluate", "cnn", "data", "models", *WRITTEN])
    return folder


def test_the_figures_are_those_of_the_models(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main()
    predictions, metrics = (json.loads(Path(path).read_text()) for path in WRITTEN)
    assert predictions == {
        "dataset": "digits",
        "classes": 3,
        "seeds": [10, 11],
        "models": [hashlib.md5((models / f"{seed}.keras").read_bytes()).hexdigest() for seed in OUTPUTS],  # noqa: S324
        "parameters": 7,
        "loss": [0.789, 0.885],  # (ln 2 + ln 4 + ln 4/3) / 3, (ln 4 + ln 4/3 + ln 8/3) / 3
        "history": [[int(seed), *row] for seed in OUTPUTS for row in EPOCHS],
        "label": [0, 1, 1],
        "prediction": [[0, 2, 1], [1, 1, 0]],
        "probability": [[0.5, 0.5, 0.75], [0.5, 0.75, 0.5]],
    }
    assert metrics == {
        "accuracy": 0.5,
        "accuracy_sd": 0.236,
        "ensemble": 0.667,  # right for the second and the third image
        "errors": 1.5,
        "gap": 0.125,
        "loss": 0.837,
        "parameters": 7,
        "dataset": ["digits"],
    }
    assert capsys.readouterr().out == "cnn: test accuracy 0.5000 on digits, 2 seeds\n"


HEADER, NUMBERS = "epoch,split,metric,value\n", "expected finite numbers, found others or none"
BAD = {  # the file that is named: what it holds, and the message
    "models/10.csv": (f"{HEADER}1,train,loss,1\n2,train,loss,inf\n", NUMBERS),
    "models/11.csv": (HEADER, NUMBERS),
    "models/11.keras": ("", "expected finite probabilities, found others"),
}


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("path", BAD)
def test_what_is_not_finite_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, message = BAD[path]
    Path(path).write_text(content)
    if path.endswith(".keras"):
        monkeypatch.setitem(OUTPUTS, "11", [[0.5, np.nan, 0.5], *OUTPUTS["10"][1:]])
    with pytest.raises(SystemExit) as ended:
        evaluate.main()
    advice = f"make it anew with: rm -f {path} && dvc repro train@cnn"
    assert str(ended.value) == f"error: {path}: {message}; {advice}"
    assert not any(Path(written).exists() for written in WRITTEN)
