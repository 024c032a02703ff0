"""What a recipe is where params.yaml does not say."""

OPTIMIZER = "Adam"
LOSS = "CategoricalCrossentropy"
VALIDATION_SPLIT = 0.0
