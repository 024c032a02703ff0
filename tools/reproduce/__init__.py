"""Runs a commit again (`make reproduce`)."""
