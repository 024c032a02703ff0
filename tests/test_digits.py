"""`python -m tools.digits`: shows digits, predictions and errors, and classifies a person's own pictures."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tools.digits import __main__ as cli
from tools.digits import lookups, models

from .conftest import Project
from .reviews import of_models, printed_by

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


digits = partial(printed_by, "tools.digits")


def rows(printed: str) -> list[list[str]]:
    """The cells of the printed table, heading first."""
    return [line.split() for line in printed.splitlines()]


def test_errors_stand_in_order_of_seeds_and_probability() -> None:
    every = lookups.errors(MODELS)
    assert every.to_numpy().tolist() == [
        ["one", 3, 7, 1, 0.99],
        ["two", 2, 5, 6, 0.95],
        ["one", 0, 5, 3, 0.9],
        ["two", 0, 5, 3, 0.6],
    ]
    for selection, indices in {
        (5, None, 0, 1): [2, 0, 0],
        (5, 3, 0, 1): [0, 0],
        (5, 3, 0.7, 1): [0],
        (None, None, 0.6, 0.95): [2, 0, 0],
        (9, None, 0, 1): [],
    }.items():
        assert lookups.select(every, *selection)["index"].tolist() == indices
    same = of_models(LABEL, np.array([3, 5, 5, 7]), np.full(4, 0.5))
    ties = lookups.errors({"b": same, "a": same})[["index", "architecture"]]
    assert ties.to_numpy().tolist() == [[0, "a"], [0, "b"], [1, "a"], [1, "b"]]
    errors = lookups.errors(SEEDS)
    assert list(errors) == ["architecture", "index", "label", "prediction", "seeds", "probability"]
    assert errors.values.tolist() == [["many", 0, 5, 8, 3, 0.5], ["many", 3, 7, 1, 1, 0.99], ["one", 0, 5, 8, 1, 0.7]]
    assert lookups.select(errors, None, None, 0, 1, seeds=3)["index"].tolist() == [0]
    assert lookups.titles(errors, ())[:2] == ["0: l=5,p=8\n3 seeds, 50.0%", "3: l=7,p=1\n1 seed, 99.0%"]


def test_common_counts_the_models_that_are_wrong() -> None:
    columns = ["index", "label", "wrong", "one", "two"]
    assert lookups.common(MODELS, 2)[columns].to_numpy().tolist() == [[0, 5, 2, 3, 3]]
    assert lookups.common(MODELS, 1)["index"].tolist() == [0, 2, 3]
    common = lookups.common(SEEDS, 1)
    assert common[["index", "wrong", "many", "one"]].to_numpy().tolist() == [[0, 4, "8 (3/3)", 8], [3, 1, "1 (1/3)", 7]]
    assert lookups.common(SEEDS, 4)["index"].tolist() == [0]
    assert lookups.titles(common, ["many", "one"]) == ["0: l=5\np=8,8", "3: l=7\np=1,7"]


def test_the_best_architecture_has_the_best_mean_and_its_model_the_first_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    params = SimpleNamespace(architectures=SEEDS, train=SimpleNamespace(seeds=[11, 10]))
    monkeypatch.setattr(models, "load_params", lambda: params)
    monkeypatch.setattr(models, "read_predictions", lambda _, name: SEEDS[name])
    assert (models.best(), models.chosen(None)) == ("one", 11), "many's best seed gets as many right"


def test_a_class_is_chosen_by_its_name_or_its_number() -> None:
    names = ["cat", "7", *"abc", "a very long name of a dog", "six", "a(2/3)"]
    for text, number in (None, None), ("cat", 0), ("0", 0), ("7", 1), ("5", 5), ("a very long name of a dog", 5):
        assert lookups.class_number("--label", text, names) == number
    assert lookups.class_number("--label", "7", range(10)) == 7


def test_look_ups_by_names_and_photos(project: Project, monkeypatch, capsys) -> None:
    names = [f"class \x1b{number}" for number in range(10)]
    project.edit_json("data/prepared/test/dataset.json", lambda file: file.update(class_names=names, photo=True))
    project.edit_json("metrics/predictions/cnn.json", lambda file: file.update(class_names=names))
    every = recorded(project, "cnn")
    label, prediction, _ = next(row for row in every if row[0] != row[1])
    expected = sum(row[:2] == (label, prediction) for row in every)
    named = "errors", "--architecture", "cnn", "--label", names[label], "--prediction", prediction
    ((_, _, *drawn),) = in_this_process(project, monkeypatch, *named, "--output", "errors.png")
    assert drawn == ["tiny digits: errors of cnn", True], "photos are shown as they are"
    printed = capsys.readouterr().out
    assert f"{expected} error{'s' if expected > 1 else ''}\n" in printed
    assert f"class \\x1b{label} class \\x1b{prediction}" in printed
    line = "error: --label: no class 'class 3'; did you mean 'class \\x1b3'?\n"
    assert digits(project, "errors", "--label", "class 3", status=1) == line
    line = "error: classify: expected a data set of drawn digits, found photos (tiny digits)\n"
    assert digits(project, "classify", "7.png", status=1) == line
    line = "argument --output: expected a name that ends in .png, found 'params.yaml'\n"
    assert digits(project, "common", "--output", "params.yaml", status=2).endswith(line)
    line = "error: --output: expected another file than the pictures to classify, found 7.png\n"
    assert digits(project, "classify", "7.png", "--output", "7.png", status=1) == line


def recorded(project: Project, name: str, seed: int = 10) -> list[tuple[int, int, float]]:
    """Label, prediction and probability of each test image."""
    file = json.loads((project.path / f"metrics/predictions/{name}.json").read_text())
    row = file["seeds"].index(seed)
    return list(zip(file["label"], file["prediction"][row], file["probability"][row], strict=True))


def wrong(project: Project, name: str, seed: int = 10) -> set[int]:
    return {index for index, (label, prediction, _) in enumerate(recorded(project, name, seed)) if label != prediction}


@pytest.mark.parametrize("seed", [None, 11])
def test_show_prints_labels_and_recorded_predictions(seeded: Project, seed: int | None) -> None:
    option = ["--seed", seed] if seed else []
    heading, *table, count = rows(digits(seeded, "show", 7, "--count", 3, "--architecture", "cnn", *option))
    assert heading == ["index", "label", "prediction", "probability"]
    expected = recorded(seeded, "cnn", seed or 10)[7:10]
    assert table == [[str(7 + n), str(a), str(b), f"{c:.4f}"] for n, (a, b, c) in enumerate(expected)]
    assert count == ["3", "test", "images"]
    assert expected != recorded(seeded, "cnn", 10 if seed else 11)[7:10]


def test_show_predicts_training_images(built_project: Project) -> None:
    _, *table, _ = rows(digits(built_project, "show", 298, "--split", "train", "--architecture", "mlp_256"))
    labels = np.load(built_project.path / "data/prepared/train/labels.npy").argmax(1)
    assert [row[:2] for row in table] == [["298", str(labels[298])], ["299", str(labels[299])]]
    assert all(0.1 <= float(probability) <= 1 for *_, probability in table)
    _, alone, _ = rows(digits(built_project, "show", 299, "--split", "train", "--architecture", "mlp_256"))
    assert alone == table[1], "of that image, wherever the table begins"


def test_errors_and_common_list_the_projects_errors(built_project: Project, seeded: Project) -> None:
    def table(project: Project, command: str) -> list[list[str]]:
        return rows(digits(project, *command.split(), "--count", 100))[1:-1]

    one, other = wrong(built_project, "cnn"), wrong(built_project, "mlp_256")
    printed = digits(built_project, "errors", "--architecture", "cnn", "--count", 2)
    assert len(rows(printed)) == 4
    assert printed.endswith(f"showing 2 of {len(one)} errors\n")
    assert {int(row[0]) for row in table(built_project, "common")} == one & other
    assert {int(row[0]) for row in table(built_project, "common --at-least 1")} == one | other
    printed = digits(built_project, "common", "--architecture", "cnn", "--count", 1)
    assert printed.endswith(f"showing 1 of {len(one)} test images that the only model gets wrong\n")

    counts = Counter([*wrong(seeded, "cnn", 10), *wrong(seeded, "cnn", 11)])
    assert {int(row[1]): int(row[4]) for row in table(seeded, "errors --architecture cnn")} == counts
    of_both = {int(row[1]) for row in table(seeded, "errors --architecture cnn --min-seeds 2")}
    assert of_both == {index for index, count in counts.items() if count == 2}
    printed = digits(seeded, "common", "--at-least", 1)
    assert "at least 1 of 4 models" in printed.splitlines()[-1]
    assert rows(printed)[0] == ["index", "label", "wrong", "mlp_256", "cnn"]


def in_this_process(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> list[tuple]:
    """Runs the command here; returns what each sheet is drawn of: images, titles, heading, whether they are photos."""
    sheets: list[tuple] = []
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(cli, "image_sheet", lambda *drawn: sheets.append(drawn))
    monkeypatch.setattr(cli, "save", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["digits", *map(str, arguments)])
    cli.main()
    return sheets


@pytest.mark.parametrize("line", ["show 40 --architecture cnn", "errors --architecture cnn", "common --at-least 1"])
def test_the_images_drawn_are_those_listed(built_project: Project, line: str, monkeypatch, capsys) -> None:
    ((sheet, *_),) = in_this_process(built_project, monkeypatch, *line.split(), "--count", 3, "--output", "x.png")
    heading, *listed = rows(capsys.readouterr().out)
    indices = [int(row[heading.index("index")]) for row in listed[:3]]
    assert np.array_equal(sheet, np.load(built_project.path / "data/prepared/test/images.npy")[indices])


def test_a_picture_has_its_two_likeliest_classes_of_the_best_architecture(
    built_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = digit_picture(built_project, 0, tmp_path / "0.png")
    probabilities = np.array([[0, 0.125, 0, 0.5, 0, 0, 0.25, 0, 0.0625, 0.0625]])
    best = min(("mlp_256", "cnn"), key=lambda name: len(wrong(built_project, name)))
    expected = (best, 10, 1)
    monkeypatch.setattr(models, "predict", lambda *given: probabilities * ((*given[:2], len(given[2])) == expected))
    ((_, titles, *_),) = in_this_process(built_project, monkeypatch, "classify", picture, "--output", "x.png")
    title, heading, row, path = capsys.readouterr().out.splitlines()
    assert (path, titles) == ("x.png", [f"{str(picture)[-18:]}\n3, 50.0%"])
    assert title == f"{best}, trained on tiny digits:"
    assert heading.split() == ["file", "prediction", "probability", "second"]
    assert row.split() == [str(picture), "3", "0.5000", "6"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("show 100", "first: expected an index below 100, the number of test images, found 100"),
        ("show 0 --architecture cnnn", "params.yaml: architectures: no architecture 'cnnn'; did you mean 'cnn'?"),
        ("show 0 --architecture cnn --seed 7", "--seed: expected one of train.seeds (10), found 7"),
        ("show 0 --seed 10", "--seed: expected an architecture too; add --architecture NAME"),
        ("errors --min-seeds 2", "--min-seeds: expected at most 1, the number of seeds, found 2"),
        ("common --at-least 3", "--at-least: expected at most 2, the number of models, found 3"),
        ("classify missing.png", "missing.png: cannot read: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(built_project: Project, command: str, expected: str) -> None:
    assert digits(built_project, *command.split(), status=1) == f"error: {expected}\n"


def digit_picture(project: Project, index: int, path: Path) -> Path:
    """Writes a test image as a person's picture; returns its path."""
    image = np.load(project.path / "data/prepared/test/images.npy")[index, ..., 0]
    paper = 255 - np.kron(np.pad(image, 4), np.ones((20, 20))) * 200
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(paper.astype(np.uint8)).save(path)
    return path


def test_pictures_are_classified_and_those_that_show_no_digit_reported(seeded: Project, tmp_path: Path) -> None:
    good = [digit_picture(seeded, index, tmp_path / f"{index}/0.png") for index in range(3)]
    with Image.open(good[2]) as picture:
        picture.save(tmp_path / "two.gif", save_all=True, append_images=[picture.rotate(180)])
    good.append(tmp_path / "two.gif")
    Image.new("L", (90, 90), 128).save(tmp_path / "blank.png")
    bad, sheet = [tmp_path / "blank.png", tmp_path / "no.png"], tmp_path / "sheet.png"
    options = ["--architecture", "cnn", "--output", str(sheet)]
    command = ["python", "-m", "tools.digits", "classify", *map(str, good + bad), *options]
    probabilities = []
    for seed, option in (10, []), (11, ["--seed", "11"]):
        done = seeded.run(*command, *option, check=False)
        assert done.returncode == 1
        assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [["error", str(path)] for path in bad]
        title, heading, *lines, path = done.stdout.splitlines()
        assert (path, sheet.exists()) == (str(sheet), True)
        assert title == f"cnn, seed {seed}, trained on tiny digits:"
        assert heading.split() == ["file", "prediction", "probability", "second", "note"]
        assert [row.split()[0] for row in lines] == list(map(str, good))
        assert all(row.split()[1] != row.split()[3] for row in lines)
        assert lines[-1].endswith("first of several frames")
        probabilities.append([row.split()[2] for row in lines])
    assert probabilities[0] != probabilities[1]
    many = digits(seeded, "classify", *[good[0]] * 101, "--architecture", "cnn", "--output", sheet)
    assert many.endswith(f"{sheet} (first 100 of 101)\n")
