"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""

from stages.common.kernels import fix_environment

fix_environment()  # here, as NumPy reads it when the first stage or tool imports it
