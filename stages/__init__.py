"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""

from stages.common.kernels import fix_environment

fix_environment()  # before any stage or tool imports NumPy, which reads it then
