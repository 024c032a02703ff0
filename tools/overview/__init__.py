"""Compares the architectures: a table, training curves, one page (`make overview`)."""
