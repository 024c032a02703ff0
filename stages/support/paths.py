"""Checks paths on command lines."""

from pathlib import Path

from stages.support.errors import PipelineError


def output_path(text: str) -> Path:
    """Returns the path of an output on a command line.

    Raises `PipelineError` if it is, or lies in, a folder that is a link out of the git repository. DVC refuses such
    outputs too, but only after the stage has run.
    """
    path = Path(text)
    folder = path if path.is_dir() else path.parent
    root = next((parent for parent in (Path.cwd(), *Path.cwd().parents) if (parent / ".git").exists()), None)
    if root and not path.is_absolute() and not folder.resolve().is_relative_to(root.resolve()):
        link = next(parent for parent in (*reversed(folder.parents), folder) if parent.is_symlink())
        raise PipelineError(
            f"{link}: a link to {link.readlink()}, outside the git repository, where DVC records no output",
            "put a folder in its place; to keep large files elsewhere, run: dvc cache dir --local FOLDER",
        )
    return path
