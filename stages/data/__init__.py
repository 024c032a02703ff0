"""Code of fetch and preprocess: where the data set comes from, and its form."""
