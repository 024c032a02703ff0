"""Shows digits, errors and predictions (`python -m tools.digits`)."""
