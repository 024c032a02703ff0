"""Runs git."""

import os
import re
import subprocess

from stages.support.errors import PipelineError, one_line

MAX_SECONDS = 300  # for one command


def git(*arguments: str, **environment: str) -> bytes:
    """Runs git, with extra environment variables, and returns its output. Raises `PipelineError` if it fails."""
    command = ["git", *arguments]
    shown = one_line(" ".join(command))
    try:
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, check=False, timeout=MAX_SECONDS
        )
    except FileNotFoundError as error:
        raise PipelineError("git: no such command; install git") from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # such as a path that is too long
        raise PipelineError(f"{shown}: {one_line(error)}") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace")
        remedy = re.search(r"git config --global --add safe\.directory .+", message)
        if "not a git repository" in message:
            raise PipelineError("no git repository here, which this needs; git init starts one")
        owner = f"the repository belongs to another user; if you trust it, run: {remedy[0]}" if remedy else ""
        raise PipelineError(f"{shown}: {owner or one_line(message)}")
    return done.stdout
