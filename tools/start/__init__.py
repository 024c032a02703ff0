"""Starts a project of one's own data from a clone of this one (`make start`)."""
