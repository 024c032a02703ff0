"""The offline default: scikit-learn's handwritten digits in the format of MNIST.

Scikit-learn ships 1,797 digits of 8 x 8 pixels (the test set of the UCI "Optical Recognition of Handwritten Digits",
https://archive.ics.uci.edu/dataset/80). They are not MNIST, but real handwriting in the same ten classes.
"""

import numpy as np
from PIL import Image

from stages.data.archive import Archive

DIGITS_MAX = 16  # a pixel is the number of black pixels in a 4 x 4 block: 0…16
TEST_FRACTION = 0.2
SPLIT_SEED = 0


def embedded_digits() -> Archive:
    """Returns scikit-learn's digits as 28 x 28 uint8 images: 1,437 for training, 360 for testing, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    grey = np.round(digits.images * (255 / DIGITS_MAX)).astype(np.uint8)
    images = np.stack([fit_like_mnist(image) for image in grey])
    labels = digits.target.astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    return Archive(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def fit_like_mnist(ink: np.ndarray, box: int = 20, size: int = 28) -> np.ndarray:
    """Fits a digit into a square image of `size` pixels, uint8, as MNIST's authors did.

    "Size normalized to fit in a 20x20 pixel box while preserving their aspect ratio […] centered in a 28x28 image by
    computing the center of mass of the pixels" (LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/). `ink` is
    uint8 (height, width), 0 for paper and 255 for ink, of any size, not blank.
    """
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = box / max(digit.size)
    width, height = (max(1, round(side * scale)) for side in digit.size)
    scaled = np.asarray(digit.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int64)
    place = []
    for axis, length in ((1, height), (0, width)):
        centre_of_mass = (scaled.sum(axis=axis) @ np.arange(length)) / scaled.sum()
        start = min(max(round((size - 1) / 2 - centre_of_mass), 0), size - length)
        place.append(slice(start, start + length))
    result = np.zeros((size, size), np.uint8)
    result[tuple(place)] = scaled
    return result
