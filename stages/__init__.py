"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""

from stages.common.kernels import fix_environment

fix_environment()  # here, as NumPy reads these variables when it is imported, at the top of every stage and tool
