"""Runs the trainings of `make repro` on a Ray cluster."""
