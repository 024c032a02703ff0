"""What people run beside DVC. Tools may import stages, never the other way round."""

import stages  # noqa: F401  chooses NumPy's kernels, before a tool imports it
