"""Warm servers: processes that have imported the libraries, so that a dozen commands do not each import them anew.

TensorFlow takes four to seven seconds to import, and a full run imports it twice per architecture. A server imports it
once and forks for each command (tools/repro/server.py). `dvc` and `python` find it through the two scripts in
tools/repro/bin, which are first on PATH. There are three, so that no command waits for libraries that it does not need.

Where a process cannot be forked safely (macOS, Windows), or the scripts cannot be executed, the real commands run.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.support.errors import PipelineError
from tools.repro.client import CLUSTER, SERVERS, STARTED_WITH, python_variables

LIBRARIES = {
    "keras": ("keras", "pydantic.main", "yaml", "pandas", "sklearn.metrics"),
    "dvc": ("dvc.commands.repro", "dvc.cli", "dvc.render", "dvc.repo.reproduce", "dvc.repo.status", "networkx"),
    "tables": (
        *(
            "pydantic.main",
            "yaml",
            "pandas",
            "matplotlib.backends.backend_agg",
            "matplotlib.figure",
            "matplotlib.style",
        ),
        *("scipy.optimize", "scipy.stats", "jinja2", "rich.progress", "requests", "sklearn.datasets"),
    ),
}
ROOT = Path(__file__).parents[2]
BIN = Path(__file__).with_name("bin")


def possible() -> bool:
    """Whether servers can be used: on Linux, where the scripts may be executed (a ZIP download may forget that)."""
    return sys.platform == "linux" and all(os.access(BIN / name, os.X_OK) for name in ("python", "dvc"))


class Warm:
    """The servers that were started, and how commands find them.

    Attributes:
        folder: has the servers' sockets.
        commands: environment variables by which `python` and `dvc` find the servers; without any, this Python.
        environment: these and all others, for commands.
        python, dvc: what a command line begins with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.servers = folder, dict[str, subprocess.Popen[bytes]]()
        self.possible = possible()
        paths = [*([str(BIN)] if self.possible else []), str(Path(sys.executable).parent)]
        self.commands = {
            "PATH": os.pathsep.join([*paths, os.environ.get("PATH", os.defpath)]),
            "REPRO_PYTHON": sys.executable,
            SERVERS: str(folder),
            STARTED_WITH: python_variables(os.environ),
        }
        self.environment = os.environ | self.commands
        self.python = [str(BIN / "python") if self.possible else sys.executable]
        self.dvc = [str(BIN / "dvc")] if self.possible else [sys.executable, "-m", "dvc"]

    def start(self, name: str, libraries: Sequence[str] = ()) -> None:
        """Starts the server of this name: of these libraries, or of those that `LIBRARIES` has for it.

        If the command that runs this one has such a server, it is used.
        """
        if not self.possible or (self.folder / name).exists() or self._borrow(name):
            return
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # TensorFlow's start-up messages
        self._start(name, "tools.repro.server", [str(self.folder), *(libraries or LIBRARIES[name])], **quiet)

    def start_cluster(self) -> int:
        """Has a Ray cluster run what stages/train.py would (tools/cluster); returns how many trainings it runs at once.

        Raises `PipelineError` if commands cannot be passed on; ends this process if the cluster cannot be used.
        """
        if not self.possible:
            raise PipelineError(f"a Ray cluster can be used from Linux only, this is {sys.platform}; unset RAY_ADDRESS")
        self._start(CLUSTER, "tools.cluster", [], stdout=subprocess.PIPE)
        cpus = self.servers[CLUSTER].stdout.readline()
        if not cpus:
            sys.exit(self.servers[CLUSTER].wait())  # it has said why
        return int(cpus)

    def _start(self, name: str, module: str, arguments: Sequence[str], **streams: int) -> None:
        """Starts a server: a module that gets the number of a listening socket."""
        with socket.socket(socket.AF_UNIX) as listening:
            with contextlib.chdir(self.folder):  # as a socket's path may have no more than a hundred characters
                listening.bind(name)
            listening.listen()
            self.servers[name] = subprocess.Popen(
                [sys.executable, "-m", module, str(listening.fileno()), *arguments],
                cwd=ROOT,
                env=self.environment,
                pass_fds=[listening.fileno()],
                process_group=0,  # signals of a terminal come to commands through their clients
                stdin=subprocess.PIPE,  # is closed when this process ends, however it ends
                **streams,
            )

    def _borrow(self, name: str) -> bool:
        lent = Path(os.environ.get(SERVERS, os.devnull), name)
        if lent.is_socket() and os.environ.get(STARTED_WITH) == self.commands[STARTED_WITH]:
            (self.folder / name).symlink_to(lent)
            return True
        return False

    def stop(self, *names: str) -> None:
        """Ends the servers of these names and the commands that they run."""
        stopped = {name: self.servers.pop(name) for name in names if name in self.servers}
        for name, server in stopped.items():
            (self.folder / name).unlink(missing_ok=True)
            server.stdin.close()
            server.terminate()  # at once, if it is still importing its first library
        for server in stopped.values():
            server.wait()


@contextlib.contextmanager
def warm_commands() -> Iterator[Warm]:
    """Makes a folder for the servers that are started in the block, and ends them at last."""
    with tempfile.TemporaryDirectory(prefix="repro-", ignore_cleanup_errors=True) as folder:
        warm = Warm(Path(folder))
        try:
            yield warm
        finally:
            warm.stop(*warm.servers)
