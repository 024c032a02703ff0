"""The tutorials' scripts, as a user would run them: `python research/bench/tutorial.py cnn`. Imports no code of ours.

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
    archive = np.load(Path(home, "datasets", "mnist.npz"))  # where the tutorials' load_data stores it
    x_train, x_test = (
        archive[key].reshape(-1, *IMAGE.get(name, (784,))).astype("float32") / 255 for key in ("x_train", "x_test")
    )
    y_train, y_test = (keras.utils.to_categorical(archive[key]) for key in ("y_train", "y_test"))
    return x_train, y_train, x_test, y_test


def build(name: str) -> keras.Model:
    """Builds and compiles the model."""
    if name in IMAGE:
        layers = [
            Input(IMAGE[name]),
            Conv2D(filters=32, kernel_size=(3, 3), padding="same", activation="relu"),
            MaxPooling2D(pool_size=(2, 2), data_format="channels_last" if name == "cnn" else "channels_first"),
            Flatten(),
            Dense(256, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    else:
        layers = [Input((784,))]
        for _ in range(2 if name == "mlp_1000x2_dropout" else 1):
            units = 256 if name == "mlp_256" else 1000
            layers.append(Dense(units=units, kernel_initializer="normal", activation="relu"))
            layers += [Dropout(0.5)] if name.endswith("dropout") else []
        layers.append(Dense(units=10, kernel_initializer="normal", activation="softmax"))
    model = keras.Sequential(layers)
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def fit(name: str, model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, callbacks: tuple = ()) -> None:
    """The tutorials' `fit` call."""
    options = {"batch_size": 64} if name in IMAGE else {"batch_size": 200, "validation_split": 0.2}
    model.fit(x, y, epochs=epochs, verbose=2, callbacks=list(callbacks), **options)


if __name__ == "__main__":
    name = sys.argv[1]
    x_train, y_train, x_test, y_test = load(name)
    model = build(name)
    model.summary()
    fit(name, model, x_train, y_train, epochs=10)
    print("accuracy", model.evaluate(x_test, y_test, verbose=0)[1])
    prediction = model.predict(x_test, verbose=0).argmax(axis=1)
    print(pd.crosstab(y_test.argmax(axis=1), prediction, rownames=["label"], colnames=["predict"]))
