"""Deletes results that params.yaml no longer names (`make clean-results`)."""
