"""What was run once and written up; not part of the pipeline. README.md lists it."""
