"""Code that stages share. dvc.yaml lists for each stage the modules that decide its results."""
