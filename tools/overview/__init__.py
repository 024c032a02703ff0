"""Draws the overview of all architectures: comparison, training curves, report page (`make overview`)."""
