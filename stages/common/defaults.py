"""Values for arguments that params.yaml leaves out. The train stage depends on this file."""

OPTIMIZER = "Adam"
LOSS = "CategoricalCrossentropy"
VALIDATION_SPLIT = 0.0
