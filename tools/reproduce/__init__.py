"""Reruns a commit and compares its results (`make reproduce`)."""
