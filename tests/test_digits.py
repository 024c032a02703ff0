"""`python -m tools.digits`: shows digits, predictions and errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tools.digits import lookups

from .conftest import Project
from .reviews import of_models

LABEL = np.array([5, 3, 5, 7])
MODELS = {
    "one": of_models(LABEL, np.array([3, 3, 5, 1]), np.array([0.9, 0.8, 0.7, 0.99])),
    "two": of_models(LABEL, np.array([3, 3, 6, 7]), np.array([0.6, 0.8, 0.95, 0.5])),
}
SEEDS = {
    "many": of_models(
        LABEL,
        np.array([[3, 3, 5, 1], [8, 3, 5, 7], [8, 3, 5, 7]]),
        np.array([[0.9, 0.8, 0.7, 0.99], [0.6, 0.8, 0.7, 0.5], [0.4, 0.8, 0.7, 0.5]]),
    ),
    "one": of_models(LABEL, np.array([8, 3, 5, 7]), np.array([0.7, 0.8, 0.7, 0.6])),
}


def digits(project: Project, *arguments: str, status: int = 0) -> str:
    done = project.run("python", "-m", "tools.digits", *arguments, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def rows(printed: str) -> list[list[str]]:
    """The cells of the printed table, heading first."""
    return [line.split() for line in printed.splitlines()]


def test_errors_of_all_architectures_stand_surest_first() -> None:
    found = lookups.errors(MODELS)
    assert found.to_numpy().tolist() == [
        ["one", 3, 7, 1, 0.99],
        ["two", 2, 5, 6, 0.95],
        ["one", 0, 5, 3, 0.9],
        ["two", 0, 5, 3, 0.6],
    ]


@pytest.mark.parametrize(
    ("label", "prediction", "least", "most", "expected"),
    [
        (None, None, 0, 1, [3, 2, 0, 0]),
        (5, None, 0, 1, [2, 0, 0]),
        (5, 3, 0, 1, [0, 0]),
        (5, 3, 0.7, 1, [0]),
        (None, None, 0.6, 0.95, [2, 0, 0]),
        (9, None, 0, 1, []),
    ],
)
def test_errors_are_chosen_by_label_prediction_and_probability(label, prediction, least, most, expected) -> None:
    found = lookups.select(lookups.errors(MODELS), label, prediction, least, most)
    assert found["index"].tolist() == expected


def test_digits_that_all_or_some_architectures_read_wrong() -> None:
    assert lookups.common(MODELS, 2)[["index", "label", "wrong", "one", "two"]].to_numpy().tolist() == [[0, 5, 2, 3, 3]]
    assert lookups.common(MODELS, 1)["index"].tolist() == [0, 2, 3]


def test_an_image_that_several_seeds_get_wrong_is_one_error_and_stands_first() -> None:
    found = lookups.errors(SEEDS)
    assert list(found) == ["architecture", "index", "label", "prediction", "seeds", "probability"]
    assert found.to_numpy().tolist() == [
        ["many", 0, 5, 8, 3, 0.5],
        ["many", 3, 7, 1, 1, 0.99],
        ["one", 0, 5, 8, 1, 0.7],
    ]
    assert lookups.select(found, None, None, 0, 1, seeds=2)["index"].tolist() == [0]
    assert lookups.titles(found, ())[:2] == ["0: l=5,p=8\n3 seeds, 50.0%", "3: l=7,p=1\n1 seed, 99.0%"]


def test_common_counts_models_and_tells_all_seeds_from_one() -> None:
    found = lookups.common(SEEDS, 1)
    assert found[["index", "wrong"]].to_numpy().tolist() == [[0, 4], [3, 1]]
    assert found["many"].tolist() == ["8 (3/3)", "1 (1/3)"]
    assert found["one"].tolist() == [8, 7]
    assert lookups.common(SEEDS, 4)["index"].tolist() == [0]


def recorded(project: Project, name: str, seed: int = 10) -> dict[str, list]:
    """Label, prediction and probability of each test image."""
    file = json.loads((project.path / f"metrics/predictions/{name}.json").read_text())
    row = file["seeds"].index(seed)
    return {"label": file["label"], **{key: file[key][row] for key in ("prediction", "probability")}}


def test_show_prints_labels_and_what_an_architecture_recorded(project) -> None:
    columns = recorded(project, "cnn")
    heading, *found, count = rows(digits(project, "show", "7", "--count", "3", "--architecture", "cnn"))
    assert heading == ["index", "label", "prediction", "probability"]
    assert found == [
        [
            str(index),
            str(columns["label"][index]),
            str(columns["prediction"][index]),
            f"{columns['probability'][index]:.4f}",
        ]
        for index in (7, 8, 9)
    ]
    assert count == ["3", "test", "images"]


def test_show_asks_the_model_for_training_images(project) -> None:
    _, *found, _ = rows(digits(project, "show", "298", "--split", "train", "--architecture", "mlp_256"))
    labels = np.load(project.path / "data/prepared/train/labels.npy").argmax(1)
    assert [row[:2] for row in found] == [["298", str(labels[298])], ["299", str(labels[299])]]
    assert all(0.1 <= float(probability) <= 1 for *_, probability in found)


def test_errors_and_common_answer_from_the_project(project) -> None:
    tables = {}
    for name in ("cnn", "mlp_256"):
        tables[name] = pd.DataFrame(recorded(project, name))
    wrong = {name: set(table.index[table["label"] != table["prediction"]]) for name, table in tables.items()}

    printed = digits(project, "errors", "--architecture", "cnn", "--count", "2")
    assert len(rows(printed)) == 4
    assert printed.endswith(f"showing 2 of {len(wrong['cnn'])} errors\n")
    everyone = rows(digits(project, "common", "--count", "100"))[1:-1]
    assert {int(row[0]) for row in everyone} == wrong["cnn"] & wrong["mlp_256"]
    anyone = rows(digits(project, "common", "--at-least", "1", "--count", "100"))[1:-1]
    assert {int(row[0]) for row in anyone} == wrong["cnn"] | wrong["mlp_256"]


def ink(path: Path) -> int:
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("L")) < 128).sum())


@pytest.mark.parametrize("command", ["show 0 --architecture cnn", "errors", "common --at-least 1"])
def test_each_look_up_writes_a_picture_of_its_digits(project, command: str) -> None:
    few = digits(project, *command.split(), "--count", "5", "--output", "few.png")
    digits(project, *command.split(), "--count", "10", "--output", "more.png")
    assert few.endswith("few.png\n")
    assert ink(project.path / "more.png") > 1.3 * ink(project.path / "few.png") > 0  # ten digits in place of five


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("show 100", "first: expected an index below 100, the number of test images, found 100"),
        ("show 0 --architecture cnnn", "no architecture 'cnnn'; did you mean 'cnn'?"),
        ("show 0 --architecture cnn --seed 7", "--seed: expected one of train.seeds (10), found 7"),
        ("show 0 --seed 10", "--seed: expected an architecture too; add --architecture NAME"),
        ("errors --min-seeds 2", "--min-seeds: expected at most 1, the number of seeds, found 2"),
        ("common --at-least 3", "--at-least: expected at most 2, the number of models, found 3"),
        ("classify missing.png", "missing.png: cannot read: No such file or directory"),
        ("classify params.yaml", "params.yaml: expected a picture, such as PNG or JPEG; found something else"),
    ],
)
def test_a_mistake_is_one_line(project, command: str, expected: str) -> None:
    output = digits(project, *command.split(), status=1)
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert expected in output


def test_missing_or_other_predictions_are_one_line(project) -> None:
    path = "metrics/predictions/cnn.json"
    project.edit_json(path, lambda file: file["label"].reverse())
    line = f"error: {path}: expected predictions for the 100 test images, found others; make it anew with: "
    assert digits(project, "errors", status=1) == f"{line}rm -f {path} && dvc repro evaluate@cnn\n"
    (project.path / path).unlink()
    assert digits(project, "common", status=1) == (
        f"error: {path}: cannot read: No such file or directory; make it anew with: dvc repro evaluate@cnn\n"
    )


def test_show_prints_what_one_seed_recorded(seeded: Project) -> None:
    def shown(*arguments: str) -> list[list[str]]:
        printed = digits(seeded, "show", "7", "--count", "3", "--architecture", "cnn", *arguments)
        return [row[2:] for row in rows(printed)[1:-1]]

    def expected(seed: int) -> list[list[str]]:
        columns = recorded(seeded, "cnn", seed)
        return [[str(columns["prediction"][i]), f"{columns['probability'][i]:.4f}"] for i in (7, 8, 9)]

    assert shown() == expected(10)
    assert shown("--seed", "11") == expected(11) != expected(10)


def test_errors_and_common_tell_seeds_from_architectures(seeded: Project) -> None:
    wrong = []
    for seed in (10, 11):
        columns = recorded(seeded, "cnn", seed)
        wrong.append({i for i, label in enumerate(columns["label"]) if label != columns["prediction"][i]})
    heading, *found, _ = rows(digits(seeded, "errors", "--architecture", "cnn", "--count", "100"))
    assert heading == ["architecture", "index", "label", "prediction", "seeds", "probability"]
    assert {int(row[1]): int(row[4]) for row in found} == {
        index: sum(index in each for each in wrong) for index in wrong[0] | wrong[1]
    }
    printed = digits(seeded, "errors", "--architecture", "cnn", "--count", "100", "--min-seeds", "2")
    assert {int(row[1]) for row in rows(printed)[1:-1]} == wrong[0] & wrong[1]
    printed = digits(seeded, "common", "--at-least", "1")
    assert "at least 1 of 4 models" in printed.splitlines()[-1]
    assert rows(printed)[0] == ["index", "label", "wrong", "mlp_256", "cnn"]


def digit_picture(project: Project, index: int, name: str, scale: int = 20) -> str:
    """Writes a test image as a person's picture, and returns its name."""
    image = np.load(project.path / "data/prepared/test/images.npy")[index, ..., 0]
    paper = 255 - np.kron(np.pad(image, 4), np.ones((scale, scale))) * 200
    (project.path / name).parent.mkdir(exist_ok=True)
    Image.fromarray(paper.astype(np.uint8)).save(project.path / name)
    return name


def test_a_picture_of_ones_own_is_classified_as_the_digit_that_it_shows(project) -> None:
    for index in range(3):
        digit_picture(project, index, f"{index}.png")
    printed = digits(project, "classify", "0.png", "1.png", "2.png", "--architecture", "cnn", "--output", "seen.png")
    assert printed.startswith("cnn, trained on tiny digits:\n")  # no seed, as there is but one
    assert [row[0] for row in rows(printed)[2:5]] == ["0.png", "1.png", "2.png"]
    assert all(0 <= int(row[1]) <= 9 and 0.1 <= float(row[2]) <= 1 for row in rows(printed)[2:5])
    assert ink(project.path / "seen.png") > 1000


def test_ones_own_picture_is_classified_by_the_seed_that_is_asked_for(seeded: Project, tmp_path: Path) -> None:
    project = seeded.clone(tmp_path / "project")
    name = digit_picture(project, 0, "0.png")
    printed = [digits(project, "classify", name, "--architecture", "cnn", *seed) for seed in ([], ["--seed", "11"])]
    assert [each.splitlines()[0] for each in printed] == [
        f"cnn, seed {seed}, trained on tiny digits:" for seed in (10, 11)
    ]
    assert rows(printed[0])[2][2] != rows(printed[1])[2][2], "the probabilities of two models"


def test_pictures_that_cannot_be_read_are_reported_and_the_others_classified(project) -> None:
    good = [digit_picture(project, index, name) for index, name in enumerate(("a/0.png", "b/0.png"))]
    Image.new("L", (90, 90), 128).save(project.path / "blank.png")
    done = project.run("python", "-m", "tools.digits", "classify", good[0], "blank.png", "no.png", good[1], check=False)
    assert done.returncode == 1
    assert [row[0] for row in rows(done.stdout)[2:]] == good
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [["error", "blank.png"], ["error", "no.png"]]


def test_a_note_stands_in_the_pictures_row(project) -> None:
    name = digit_picture(project, 0, "0.png")
    with Image.open(project.path / name) as picture:
        picture.save(project.path / "two.gif", save_all=True, append_images=[picture.rotate(180)])
    assert rows(digits(project, "classify", name, "two.gif"))[-1][-4:] == ["first", "of", "2", "frames"]


def test_the_sheet_shows_the_first_pictures_and_says_so(project) -> None:
    name = digit_picture(project, 0, "0.png", scale=3)  # a hundred of them are soon read
    digits(project, "classify", *[name] * 100, "--output", "all.png")
    printed = digits(project, "classify", *[name] * 104, "--output", "first.png")
    assert printed.endswith("first.png (first 100 of 104 pictures)\n")
    assert len(rows(printed)) == 104 + 3
    assert ink(project.path / "first.png") == ink(project.path / "all.png")
