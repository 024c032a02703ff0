"""Commands that people run besides DVC. Tools may import stages; stages must not import tools."""

import stages  # noqa: F401  chooses NumPy's kernels before a tool imports NumPy
