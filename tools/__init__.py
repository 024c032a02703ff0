"""What people run beside DVC. Tools may import stages, never the other way round."""

import os

import stages  # noqa: F401  chooses NumPy's kernels, before a tool imports it

# What git sets for a hook or an alias (`git rev-parse --local-env-vars`): it points git at one repository, in whatever
# folder it runs. Here git finds the repository by the folder, as DVC does: the project's own, or a temporary one.
# The variables that hold settings of git's stay.
OF_ONE_REPOSITORY = ("ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "CONFIG", "DIR", "GRAFT_FILE", "IMPLICIT_WORK_TREE")
OF_ONE_REPOSITORY += ("INDEX_FILE", "INTERNAL_SUPER_PREFIX", "NO_REPLACE_OBJECTS", "OBJECT_DIRECTORY", "PREFIX")
OF_ONE_REPOSITORY += ("QUARANTINE_PATH", "REPLACE_REF_BASE", "SHALLOW_FILE", "WORK_TREE")
# DVC reads no other than the usual formats
OF_A_NEW_REPOSITORY = ("DEFAULT_HASH", "DEFAULT_REF_FORMAT", "TEMPLATE_DIR")

for name in (*OF_ONE_REPOSITORY, *OF_A_NEW_REPOSITORY):
    os.environ.pop(f"GIT_{name}", None)
