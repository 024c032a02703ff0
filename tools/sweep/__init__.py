"""`make sweep`: searches for an architecture with Optuna."""
