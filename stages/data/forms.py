"""Takes archives as people have them: other names of arrays, forms of labels, orders of axes, floats (docs/data.md)."""

from collections.abc import Sequence

import numpy as np

from stages.support.errors import PipelineError

NAMES = {  # of each array: its own, and those that other files use
    "x_train": ("x_train", "X_train", "train_images", "train_x", "train_X", "images_train"),
    "y_train": ("y_train", "Y_train", "train_labels", "train_y", "train_Y", "labels_train"),
    "x_test": ("x_test", "X_test", "test_images", "test_x", "test_X", "images_test"),
    "y_test": ("y_test", "Y_test", "test_labels", "test_y", "test_Y", "labels_test"),
}
CLASS_NAMES = "class_names"  # a further array, if the classes have names
CHANNELS = 1, 3  # of an image: grey, and red, green, blue
HINT = "see 'Archives' in docs/data.md for how to convert it"


def unexpected(where: str, expected: str, actual: str) -> PipelineError:
    """Returns the error for an array that cannot be taken; it names the place where a conversion is shown."""
    return PipelineError(f"{where}: expected {expected}, found {actual}", HINT)


def find_members(present: Sequence[str], where: str) -> dict[str, str]:
    """Finds the member for each array, by its name. Raises `PipelineError` if an array has none, or two."""
    members = {}
    for key, names in NAMES.items():
        matching = [name for name in names if name in present]
        if len(matching) != 1:
            listed = ", ".join(present[:4]) + (", …" if len(present) > 4 else "")
            actual = f"both {' and '.join(matching)}" if matching else listed or "none"
            raise unexpected(where, f"the arrays {', '.join(NAMES)}", actual)
        members[key] = matching[0]
    return members | ({CLASS_NAMES: CLASS_NAMES} if CLASS_NAMES in present else {})


def convert(arrays: dict[str, np.ndarray], first_label: int, where: str, notes: list[str]) -> None:
    """Converts arrays, in place of the given ones, to images uint8 (n, height, width[, 3]) and labels 0…k-1, (n,).

    Adds to the notes what it did. What it does not know stays as it is, for the check of the archive.
    """
    for split in ("train", "test"):
        images, labels = f"x_{split}", f"y_{split}"
        arrays[images] = _image_axes(arrays[images], notes)
        arrays[images] = _bytes(arrays[images], f"{where}: {images}", notes)
        arrays[labels] = _class_numbers(arrays[labels], notes)
        if first_label and arrays[labels].dtype.kind in "iu":
            if (smallest := arrays[labels].min(initial=first_label)) < first_label:
                expected = f"labels from {first_label}, as first_label in params.yaml says"
                raise PipelineError(f"{where}: {labels}: expected {expected}, found {smallest}")
            arrays[labels] = arrays[labels].astype(np.int64) - first_label
            notes.append(f"labels minus {first_label}")
    notes[:] = dict.fromkeys(notes)


def _image_axes(images: np.ndarray, notes: list[str]) -> np.ndarray:
    """Moves channels to the end, and drops the axis of a single one."""
    if images.ndim == 4 and images.shape[3] not in CHANNELS and images.shape[1] in CHANNELS:
        notes.append("channels first")
        images = np.moveaxis(images, 1, 3)
    if images.ndim == 4 and images.shape[3] == 1:
        notes.append("images without their axis of one channel")
        images = images[..., 0]
    return images


def _bytes(images: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    """Scales floats in [0, 1] to 0…255."""
    if images.dtype.kind != "f" or not images.size:
        return images
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise unexpected(where, "floats in [0, 1], or uint8", f"{images.dtype} from {low:g} to {high:g}")
    notes.append("floats in [0, 1] times 255")
    return np.round(images * 255).astype(np.uint8)


def _class_numbers(labels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Turns one-hot labels (n, k), of which each row has a single 1, and labels (n, 1) into (n,)."""
    if labels.ndim != 2 or not labels.size:
        return labels
    if labels.shape[1] == 1:
        notes.append("labels (n, 1)")
        return labels[:, 0]
    if labels.dtype.kind in "iufb" and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        notes.append("one-hot labels")
        return labels.argmax(axis=1)
    return labels
