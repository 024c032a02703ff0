"""The report where there is little or nothing to tell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import tables
from stages.arrays import Dataset
from stages.errors import PipelineError
from stages.evaluate import score
from stages.params import Report
from stages.report import Results, Section, render_page, write_overview, write_section

DATASET = Dataset(dataset="three digits", classes=3, image=(8, 8, 1), train=9, test=3, sha256="")
SETTINGS = Report(confidence=0.95, confused_pairs=5, worst_errors=10)


def test_a_perfect_model_has_no_errors_to_show(tmp_path: Path) -> None:
    labels, probabilities = np.arange(3), np.eye(3, dtype=np.float32)
    metrics = {"dataset": DATASET.dataset, "parameters": 1} | score(labels, probabilities)
    predictions = pd.DataFrame({"label": labels, "prediction": labels, "probability": 1.0})
    history = pd.DataFrame(
        [("three digits", "perfect", 1, "train", metric, 1.0) for metric in ("accuracy", "loss")],
        columns=["dataset", "architecture", "epoch", "split", "metric", "value"],
    )
    section = Section.of("perfect", Results(metrics, predictions, history), SETTINGS, DATASET.classes)
    comparison = tables.compare({"perfect": metrics}, SETTINGS.confidence, published={})

    write_overview(comparison, history, DATASET, SETTINGS, tmp_path)
    write_section(section, np.zeros((3, 8, 8, 1), np.float32), DATASET, SETTINGS, tmp_path)
    page = render_page(DATASET, comparison, [section], SETTINGS, tmp_path)

    assert "Test accuracy 100.00%: 0 of 3 images wrong." in page
    assert "Most confused:" not in page
    assert "three digits: 1 architecture compared" in page
    assert (tmp_path / "tables/perfect/errors.csv").read_text() == "index,label,prediction,probability\n"
    assert (tmp_path / "worst_errors/perfect.png").exists()


def test_results_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"metrics/cnn.json: no such file; make it with: dvc repro evaluate@cnn"):
        Results.read("cnn", tmp_path / "metrics", tmp_path, tmp_path)


def test_the_page_escapes_the_name_of_the_data_set(tmp_path: Path) -> None:
    comparison = pd.DataFrame({"train_validation_gap": [], "published": [], "architecture": []})
    for picture in ("comparison.png", "training.png"):
        (tmp_path / picture).write_bytes(b"")
    hostile = Dataset(dataset="<script>", classes=3, image=(8, 8, 1), train=9, test=3, sha256="")
    page = render_page(hostile, comparison, [], SETTINGS, tmp_path)
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
