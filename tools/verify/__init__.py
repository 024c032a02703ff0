"""Proves that reruns give the same bytes (`make verify`)."""
