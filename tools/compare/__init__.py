"""Compares results with those of a git revision (`make compare`)."""
