"""Code of evaluate and report: what the models give for the test images, as tables and pictures."""
