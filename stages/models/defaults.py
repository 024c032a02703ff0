"""Values for arguments that params.yaml leaves out. The train stage depends on this file."""

OPTIMIZER = "Adam"
LOSS = "CategoricalCrossentropy"
VALIDATION_SPLIT = 0.0
MONITOR = "val_loss"
MIN_DELTA = 0.0
