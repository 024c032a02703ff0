"""Checks the locked requirements for known vulnerabilities (`make audit`)."""
