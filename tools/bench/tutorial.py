"""The tutorials' scripts, as a user would run them: `python tools/bench/tutorial.py cnn`. Uses no code of this project.

The steps are those of the two tutorials (load, prepare, build, `fit`, evaluate, predict, crosstab), without their
plots, which would only take more time.
"""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D

IMAGE = {"cnn": (28, 28, 1), "cnn_1x28x28": (1, 28, 28)}


def load(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images, float32 (n, 784) or in the network's input shape, in [0, 1], and one-hot labels; train, then test."""
    home = os.environ.get("KERAS_HOME", Path("~/.keras").expanduser())
    path = Path(home, "datasets", "mnist.npz")  # where the tutorials' load_data stores it
    x_train, y_train, x_test, y_test = (np.load(path)[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    shape = IMAGE.get(name, (784,))
    x_train = x_train.reshape(x_train.shape[0], *shape).astype("float32") / 255
    x_test = x_test.reshape(x_test.shape[0], *shape).astype("float32") / 255
    return x_train, keras.utils.to_categorical(y_train), x_test, keras.utils.to_categorical(y_test)


def build(name: str) -> keras.Model:
    """Builds and compiles the model."""
    model = keras.Sequential()
    if name in IMAGE:
        model.add(Input(IMAGE[name]))
        model.add(Conv2D(filters=32, kernel_size=(3, 3), padding="same", activation="relu"))
        first = "channels_first" if name == "cnn_1x28x28" else "channels_last"
        model.add(MaxPooling2D(pool_size=(2, 2), data_format=first))
        model.add(Flatten())
        model.add(Dense(256, activation="relu"))
        model.add(Dense(10, activation="softmax"))
    else:
        model.add(Input((784,)))
        units = 256 if name == "mlp_256" else 1000
        for _ in range(2 if name == "mlp_1000x2_dropout" else 1):
            model.add(Dense(units=units, kernel_initializer="normal", activation="relu"))
            if name.endswith("dropout"):
                model.add(Dropout(0.5))
        model.add(Dense(units=10, kernel_initializer="normal", activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def fit(name: str, model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, callbacks: tuple = ()) -> None:
    """The tutorials' `fit` call."""
    if name in IMAGE:
        model.fit(x, y, epochs=epochs, batch_size=64, verbose=2, callbacks=list(callbacks))
    else:
        model.fit(x, y, validation_split=0.2, epochs=epochs, batch_size=200, verbose=2, callbacks=list(callbacks))


def main() -> None:
    """Runs the whole script of one network."""
    name = sys.argv[1]
    x_train, y_train, x_test, y_test = load(name)
    model = build(name)
    model.summary()
    fit(name, model, x_train, y_train, epochs=10)
    print("accuracy", model.evaluate(x_test, y_test, verbose=0)[1])
    prediction = model.predict(x_test, verbose=0).argmax(axis=1)
    print(pd.crosstab(y_test.argmax(axis=1), prediction, rownames=["label"], colnames=["predict"]))


if __name__ == "__main__":
    main()
