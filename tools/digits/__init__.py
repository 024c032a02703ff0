"""Look-ups: digits and what the architectures make of them (`python -m tools.digits`)."""
