"""Commands that people run besides DVC. Tools may import stages; stages must not import tools."""

import os

import stages  # noqa: F401  chooses NumPy's kernels before a tool imports NumPy

# Git sets these for hooks and aliases (`git rev-parse --local-env-vars`). They make git use one repository in every
# folder. Tools need the repository of the current folder, as DVC does: the project's own, or a temporary one.
# Variables with git settings are kept.
OF_ONE_REPOSITORY = ("ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "CONFIG", "DIR", "GRAFT_FILE", "IMPLICIT_WORK_TREE")
OF_ONE_REPOSITORY += ("INDEX_FILE", "INTERNAL_SUPER_PREFIX", "NO_REPLACE_OBJECTS", "OBJECT_DIRECTORY", "PREFIX")
OF_ONE_REPOSITORY += ("QUARANTINE_PATH", "REPLACE_REF_BASE", "SHALLOW_FILE", "WORK_TREE")
# DVC reads only the default formats
OF_A_NEW_REPOSITORY = ("DEFAULT_HASH", "DEFAULT_REF_FORMAT", "TEMPLATE_DIR")

for name in (*OF_ONE_REPOSITORY, *OF_A_NEW_REPOSITORY):
    os.environ.pop(f"GIT_{name}", None)
