"""A folder of pictures as a data set: its classes, splits, forms, and one line for what is no picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.data.archive import Archive
from stages.data.folders import read_folder
from stages.fetch import read_place
from stages.support.errors import PipelineError
from stages.support.params import ImageForm, Source

COLOUR = {"cat": (200, 30, 40), "dog": (20, 130, 240)}


def draw(path: Path, colour: tuple[int, ...] = (9, 8, 7), size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[len(colour)]
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(path)


def pets(folder: Path, count: int = 10) -> Path:
    """A folder of pictures, all different."""
    for name, (red, green, blue) in COLOUR.items():
        for number in range(count):
            draw(folder / name / f"{number}.png", (red, green, blue + number))
    return folder


def read(folder: Path, share: float = 0.2, **form: object) -> Archive:
    return read_folder(folder, ImageForm(**{"size": None, "mode": None} | form), share)


def test_classes_are_folders_and_a_share_of_each_is_for_testing(tmp_path: Path) -> None:
    archive = read(pets(tmp_path / "pets", 50))
    assert archive.class_names == ("cat", "dog")
    assert archive.x_train.shape[1:] == archive.x_test.shape[1:] == (4, 6, 3)
    assert len(archive.x_train) + len(archive.x_test) == 100
    assert 10 <= len(archive.x_test) <= 35
    mostly = Source(dataset="pets", places=["pets"], test_share=0.8)
    assert 65 <= len(read_place(str(tmp_path / "pets"), mostly).x_test) <= 90
    for x, y in ((archive.x_train, archive.y_train), (archive.x_test, archive.y_test)):
        assert set(y) == {0, 1}
        np.testing.assert_array_equal(x[:, 0, 0, 0], np.where(y == 0, 200, 20))
    order = archive.y_train[:20]
    assert 0 < order.sum() < 20, "mixed, as the last images are held out for validation"


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_class_of_two_pictures_has_one_for_training_and_one_for_testing(share: float, tmp_path: Path) -> None:
    archive = read(pets(tmp_path, 2), share)
    assert sorted(archive.y_train) == sorted(archive.y_test) == [0, 1]


def test_an_image_stays_on_its_side_whatever_is_added(tmp_path: Path) -> None:
    before = read(pets(tmp_path / "a", 20))
    after = read(pets(tmp_path / "b", 60))
    tested = {image.tobytes() for image in before.x_test}
    assert tested <= {image.tobytes() for image in after.x_test}
    assert tested.isdisjoint(image.tobytes() for image in after.x_train)
    (tmp_path / "b/cat/0.png").rename(tmp_path / "b/cat/another name.png")
    assert read(tmp_path / "b").sha256() == after.sha256(), "whatever it is called"


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    pets(tmp_path / "pets/train", 6)
    pets(tmp_path / "pets/test", 3)
    archive = read(tmp_path / "pets")
    assert (len(archive.x_train), len(archive.x_test)) == (12, 6)
    assert archive.class_names == ("cat", "dog")
    draw(tmp_path / "one/train/1.png")
    draw(tmp_path / "one/train/2.png", (1, 1, 1))
    with pytest.raises(PipelineError, match=r"expected folders of 2 to 256 classes, .* found 1 classes and 1 test"):
        read(tmp_path / "one")


def test_folders_named_by_numbers_are_classes_without_names_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in range(11):
        for shade in range(3):
            draw(tmp_path / f"{number}/{shade}.png", (10 * number + shade,))
    archive = read(tmp_path)
    assert archive.class_names == ()
    assert archive.x_train.ndim == 3, "grey"
    np.testing.assert_array_equal(archive.x_train[:, 0, 0] // 10, archive.y_train)


@pytest.mark.parametrize("suffix", ["JPEG", "webp", "bmp", "tif"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    for name, colour in COLOUR.items():
        for number in range(3):
            draw(tmp_path / name / f"{number}.{suffix}", (colour[0], colour[1], 9 * number), (16, 16))
    archive = read(tmp_path)
    red = archive.x_train[:, 4, 4, 0].astype(int)
    assert abs(red - np.where(archive.y_train == 0, 200, 20)).max() <= 3  # of JPEG


def pixel(tmp_path: Path, **form: object) -> np.ndarray:
    """The pixels of a/x, beside other pictures."""
    for name in ("a", "b"):
        for shade in range(3):
            draw(tmp_path / name / f"{shade}.png", (shade, 0, 0))
    archive = read(tmp_path, **{"size": [4, 6], "mode": "RGB"} | form)
    images = np.concatenate([archive.x_train, archive.x_test])
    (index,) = np.flatnonzero(images[:, -1, -1, 1] > 50)
    return images[index]


def test_pictures_are_upright_opaque_and_of_8_bits(tmp_path: Path) -> None:
    corners = [(0, 0), (0, -1), (-1, -1), (-1, 0)]
    for orientation, corner in enumerate([*corners, *corners], start=1):  # where EXIF says that the first pixel is
        picture = Image.new("RGB", (6, 4) if orientation < 5 else (4, 6), (0, 100, 0))
        picture.putpixel((0, 0), (255, 255, 255))
        exif = Image.Exif()
        exif[0x0112] = orientation
        (path := tmp_path / f"turned {orientation}/a/x.png").parent.mkdir(parents=True)
        picture.save(path, exif=exif)
        white = np.argwhere(pixel(path.parents[1], size=None)[..., 0] == 255).tolist()
        assert white == [[corner[0] % 4, corner[1] % 6]], orientation

    draw(tmp_path / "glass/a/x.png", (0, 0, 0, 0))
    (tmp_path / "palette/a").mkdir(parents=True)
    Image.new("P", (6, 4)).save(tmp_path / "palette/a/x.png", transparency=0)
    for folder in ("glass", "palette"):
        assert pixel(tmp_path / folder)[0, 0].tolist() == [255, 255, 255]

    (tmp_path / "deep/a").mkdir(parents=True)
    Image.fromarray(np.full((4, 6), 200 * 257 - 1, np.uint16)).save(tmp_path / "deep/a/x.png")
    assert pixel(tmp_path / "deep")[0, 0].tolist() == [199, 199, 199]

    (tmp_path / "film/a").mkdir(parents=True)
    frames = [Image.new("L", (6, 4), shade) for shade in (180, 10)]
    frames[0].save(tmp_path / "film/a/x.gif", save_all=True, append_images=frames[1:])
    assert pixel(tmp_path / "film")[0, 0].tolist() == [180, 180, 180]


def test_sizes_and_colours_that_differ_need_a_form(tmp_path: Path) -> None:
    pets(tmp_path)
    draw(tmp_path / "cat/large.png", (1, 2, 3), (60, 40))
    draw(tmp_path / "dog/grey.png", (200,))
    with pytest.raises(PipelineError) as caught:
        read(tmp_path)
    line = str(caught.value)
    assert f"{tmp_path}/cat/large.png (40 × 60, RGB)" in line
    assert f"{tmp_path}/dog/grey.png (4 × 6, L)" in line
    assert line.endswith("; give all the same with image: {size: [4, 6], mode: RGB} of the source")
    assert read(tmp_path, size=[4, 6], mode="RGB").x_train.shape[1:] == (4, 6, 3)
    assert read(tmp_path, size=[8, 5], mode="L").x_train.shape[1:] == (8, 5)


@pytest.mark.parametrize(
    ("mode", "suffix", "is_grey"),
    [
        ("1", "png", True), ("L", "png", True), ("LA", "png", True), ("I;16", "png", True), ("I", "tif", True),
        ("P", "png", False), ("RGBA", "png", False), ("CMYK", "jpg", False),
    ],
)  # fmt: skip
def test_pictures_without_colours_are_grey(mode: str, suffix: str, is_grey: bool, tmp_path: Path) -> None:
    for number in range(12):
        (path := tmp_path / f"{number % 2}/{number}.{suffix}").parent.mkdir(exist_ok=True)
        Image.new(mode, (6, 4 + number)).save(path)
    assert (read(tmp_path, size=[4, 6]).x_train.ndim == 3) == is_grey


def test_a_picture_that_is_made_smaller_keeps_what_lies_between_its_pixels(tmp_path: Path) -> None:
    stripes = np.tile([0, 0, 255, 255], (32, 16)).astype(np.uint8)
    for number in range(4):
        (path := tmp_path / f"{number % 2}/{number}.png").parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(stripes, number, axis=1)).save(path)
    small = read(tmp_path, size=[8, 16]).x_train
    assert 120 <= small[:, :, 1:-1].min() <= small[:, :, 1:-1].max() <= 135


def text(path: Path) -> None:
    path.write_text("no picture")


def without_some_pixels(path: Path) -> None:
    draw(path)
    path.write_bytes(path.read_bytes()[:-9])


STRAYS = {
    "cat/cut.bmp": (without_some_pixels, "{}: cannot read this picture: "),
    "cat/notes.txt": (text, "{}: expected a picture (.bmp, .gif, .jpeg, .jpg, .png, "),
    "cat/broken.png": (text, "{}: cannot read this picture: "),
    "cat/nested/1.png": (draw, "{parent}: expected pictures of the class, found a folder"),
    "lonely.png": (draw, "{}: expected a folder for each class, found a file"),
    "empty": (Path.mkdir, "{}: expected pictures, found none"),
    "bird/1.png": (draw, "{parent}: expected two or more pictures, one of them for testing, found one"),
}


@pytest.mark.parametrize("stray", STRAYS)
def test_what_is_no_picture_is_one_line(stray: str, tmp_path: Path) -> None:
    make, message = STRAYS[stray]
    (path := pets(tmp_path) / stray).parent.mkdir(exist_ok=True)
    make(path)
    with pytest.raises(PipelineError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(message.format(path, parent=path.parent))


def test_a_class_in_test_alone_and_several_problems_are_a_line_each(tmp_path: Path, capsys) -> None:
    pets(tmp_path / "train")
    pets(tmp_path / "test")
    draw(tmp_path / "test/bird/1.png")
    bird = f"{tmp_path}/test/bird: expected training images of the class, too, found none"
    with pytest.raises(PipelineError) as caught:
        read(tmp_path)
    assert str(caught.value) == bird
    text(tmp_path / "train/cat/notes.txt")
    with pytest.raises(PipelineError, match=r"put right or delete the 2 files and folders that are listed above"):
        read(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1] == bird


def test_what_systems_leave_is_no_problem(tmp_path: Path) -> None:
    before = read(pets(tmp_path)).sha256()
    for name in (".DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "dog/._1.png"):
        text(tmp_path / name)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert read(tmp_path).sha256() == before


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pets(tmp_path)
    for limit, most, line in (
        ("MAX_BYTES", 20 * 72 - 1, "at most 1,439 bytes of pixels, found 1,440; give a smaller image"),
        ("MAX_PICTURES", 19, "expected at most 19 pictures, found 20"),
        ("MAX_FILE", 50, "listed above"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"stages.data.folders.{limit}", most)
            with pytest.raises(PipelineError, match=line):
                read(tmp_path)
    monkeypatch.setattr("stages.data.folders.MAX_PICTURES", 20)
    assert len(read(tmp_path).x_train) < 20
    draw(tmp_path / "cat/bomb.png", (0,), (10_000, 5_001))
    with pytest.raises(PipelineError, match=r"bomb.png: expected at most 50,000,000 pixels, found 10,000 × 5,001"):
        read(tmp_path)
