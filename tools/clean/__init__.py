"""Deletes results that no stage of dvc.yaml writes (`make clean-results`)."""
