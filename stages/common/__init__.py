"""Code that every stage runs: files, kernels, and the prepared arrays."""
