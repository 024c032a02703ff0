"""The identity of a training: a digest of everything that decides its result.

Two trainings of the same identity give the same bytes. A training goes on from a checkpoint of its own identity only,
and takes over a model of an earlier run only if that has it.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from stages.common.kernels import Kernels, kernels_identity
from stages.common.prepared import FILES
from stages.support import custom_api
from stages.support.architecture import Architecture
from stages.support.errors import CUSTOM
from stages.support.versions import pinned, pins

FOLDERS = ("common", "models")  # of stages/, whose code and pins decide what a training gives, as dvc.yaml has it
ROOT = Path(__file__).parents[1]


def identities(
    name: str, architecture: Architecture, kernels: Kernels, data: Path, seeds: Iterable[int]
) -> dict[int, str]:
    """The identity of the training with each seed: BLAKE2b, hexadecimal.

    Args:
        name: of the architecture, which the model has too.
        architecture: its layers, and the arguments of `compile` and `fit`.
        kernels: portable ones give the same bytes on all machines; native ones count as this machine's.
        data: the folder of the prepared training images.
        seeds: as in params.yaml.
    """
    shared = f"{name}: {architecture!r}, {shared_identity(kernels, data)}{custom_identity(repr(architecture))}"
    return {seed: hashlib.blake2b(f"{shared}, seed {seed}".encode(), digest_size=32).hexdigest() for seed in seeds}


def shared_identity(kernels: Kernels, data: Path) -> str:
    """The part of the identity that all architectures have in common: kernels, code, pinned versions and data."""
    digest = hashlib.blake2b(f"{kernels_identity(kernels)}\n{code(ROOT)}\n".encode())
    for name in FILES:
        with (data / name).open("rb") as stream:
            digest.update(f"{name} {hashlib.file_digest(stream, 'blake2b').hexdigest()}\n".encode())
    return digest.hexdigest()


def code(root: Path) -> str:
    """The code and the pinned versions that decide every training, without comments, docstrings and layout."""
    modules = (path for folder in FOLDERS for path in (root / folder).glob("*.py") if path.stem.isidentifier())
    files = [root / "train.py", *sorted(path for path in modules if not path.match(CUSTOM))]
    parts = [f"{path.relative_to(root)}\n{_normalised(path.read_text(encoding='utf-8'))}" for path in files]
    versions = [
        sorted(pinned((root / folder / pins(folder).name).read_text(encoding="utf-8")).items()) for folder in FOLDERS
    ]
    return "\n".join([*parts, repr(versions)])


def custom_identity(architecture: str) -> str:
    """The part of the identity of an architecture whose text names a class in stages/models/custom.py; "" if none."""
    if not custom_api.classes().keys() & set(re.findall(r"\w+", architecture)):
        return ""
    source = _normalised((custom_api.ROOT / CUSTOM).read_text(encoding="utf-8"))
    return f", {hashlib.blake2b(source.encode()).hexdigest()}"


def _normalised(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
