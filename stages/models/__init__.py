"""Code of train and evaluate: Keras models built from params.yaml, trained and saved."""
