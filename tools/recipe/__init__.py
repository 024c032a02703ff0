"""Adds a recipe of docs/recipes to params.yaml (`make recipe`)."""
