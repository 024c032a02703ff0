"""`make schema`: writes the JSON Schema of params.yaml."""
