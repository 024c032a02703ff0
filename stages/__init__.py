"""What DVC runs: fetch → preprocess → train → evaluate → report (see dvc.yaml)."""
