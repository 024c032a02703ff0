"""Code that cannot change a result: params.yaml and its checks, messages, progress, and where trainings run."""
