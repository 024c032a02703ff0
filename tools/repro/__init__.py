"""Runs the pipeline (`make repro`)."""
