"""Measures the speed of the pipeline (`make bench`)."""
