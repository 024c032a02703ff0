"""What the server of tests/forked.py imports: libraries, and not the project's own modules, which forks read anew."""

import importlib

import stages  # noqa: F401  chooses kernels before NumPy is imported
from stages.models.models import import_keras

LIBRARIES = """
dvc.cli dvc.commands.repro dvc.render dvc.repo.reproduce dvc.repo.status dvc.stage.run jinja2
matplotlib.backends.backend_agg matplotlib.figure matplotlib.style networkx pandas pydantic.main requests rich.progress
scipy.optimize scipy.stats sklearn.datasets sklearn.metrics yaml
"""

import_keras()
for name in LIBRARIES.split():
    importlib.import_module(name)
