"""Trainings on a real Ray cluster, with nodes on this machine: the bytes of a local run, whatever happens."""

import http.server
import itertools
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster as Nodes

from .conftest import ROOT, Project
from .faults import is_alive, outputs
from .test_ending import wait_until
from .test_sweep import SIMPLE

REPRO = ("python", "-m", "tools.repro")
ALONE = (*REPRO, "train@cnn")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A cluster with a head, on which nothing is trained."""
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "600")  # not the usual 30, however busy the machine is
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


def on(nodes: Nodes) -> dict[str, str]:
    return {"RAY_ADDRESS": nodes.address}


def start(project: Project, *command: str, **variables: str) -> subprocess.Popen[str]:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project.path, env={**project.environment, **variables}, **streams)


def train_cnn_for(project: Project, epochs: int) -> None:
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=epochs))


@dataclass
class Gate:
    """Has each training say that it has ended an epoch, and then wait until the gate is open."""

    project: Project

    def __post_init__(self) -> None:
        self.waiting, self.gate = self.project.path.parent / "waiting", self.project.path.parent / "gate"
        os.mkfifo(self.gate)  # which can be opened for reading once another process opens it for writing
        module = self.project.path / "stages/models/training.py"
        before, line, after = module.read_text().partition("        checkpoint.save(model, history)\n")
        wait = (
            f"        import os; write_text(Path({str(self.waiting)!r}), str(os.getpid())); open({str(self.gate)!r})\n"
        )
        assert line
        module.write_text(before + line + wait + after)

    def wait_for_a_training(self, command: subprocess.Popen[str]) -> psutil.Process:
        """The training that waits at the gate, once a command has started it."""
        wait_until(lambda: self.waiting.exists() or command.poll() is not None)
        assert self.waiting.exists(), command.stdout.read()
        return psutil.Process(int(self.waiting.read_text()))

    def open(self) -> None:
        """Lets all trainings pass."""
        self.gate.unlink()
        self.gate.touch()


def test_a_cluster_gives_the_bytes_of_a_local_run(nodes: Nodes, project: Project, tmp_path: Path) -> None:
    train_cnn_for(project, 2)
    here = project.clone(tmp_path / "here")
    before = outputs(project)

    nodes.add_node(num_cpus=1, env_vars={"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2"})
    with start(project, *REPRO, **on(nodes)) as process:
        told = process.stdout.read()
    assert process.returncode == 1
    assert "is not used: GLIBC_TUNABLES chooses functions of the C library" in told
    assert "error: RAY_ADDRESS: none of the cluster's 1 nodes with CPUs can be used" in told
    assert "Traceback" not in told
    after = outputs(project)
    assert all(after[path] == content for path, content in before.items() if not path.startswith("data/models/cnn"))

    nodes.add_node(num_cpus=1)
    with start(project, *REPRO, **on(nodes)) as process:
        told = process.stdout.read()
    assert process.returncode == 0, told
    assert "trained with seed 10" in told
    here.run(*REPRO)
    assert outputs(project) == outputs(here)
    assert (project.path / "dvc.lock").read_bytes() == (here.path / "dvc.lock").read_bytes()

    (project.path / "space.yaml").write_text(SIMPLE)
    sweep = ("python", "-m", "tools.sweep", "space.yaml", "--trials", "1", "--write")
    with start(project, *sweep, **on(nodes)) as process:
        told = process.stdout.read()
    assert process.returncode == 0, told
    project.repro("train@found")
    (model,) = project.path.glob("sweeps/found/trainings/*/models/10.keras")
    assert model.read_bytes() == (project.path / "data/models/found/10.keras").read_bytes()


def test_a_training_whose_node_dies_runs_elsewhere(nodes: Nodes, project: Project, tmp_path: Path) -> None:
    train_cnn_for(project, 2)
    gate = Gate(project)
    here = project.clone(tmp_path / "here")
    node = nodes.add_node(num_cpus=1)
    with start(project, *ALONE, **on(nodes)) as process:
        training = gate.wait_for_a_training(process)
        nodes.add_node(num_cpus=1)
        nodes.remove_node(node, allow_graceful=False)
        wait_until(lambda: not is_alive(training))
        gate.open()
        told = process.stdout.read()
    assert process.returncode == 0, told
    assert "trained with seed 10" in told
    here.run(*ALONE)
    assert outputs(project) == outputs(here)


def test_ctrl_c_ends_trainings_on_all_nodes(nodes: Nodes, project: Project) -> None:
    train_cnn_for(project, 2)
    gate = Gate(project)
    before = (project.path / "dvc.lock").read_bytes()
    nodes.add_node(num_cpus=1)
    with start(project, *ALONE, **on(nodes)) as process:
        training = gate.wait_for_a_training(process)
        process.send_signal(signal.SIGINT)
        told = process.stdout.read()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    wait_until(lambda: not is_alive(training))
    assert (project.path / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("address", "kernels", "message"),
    [
        ("127.0.0.1:1", "portable", "error: RAY_ADDRESS=127.0.0.1:1: cannot reach a Ray cluster: "),
        ("127.0.0.1:1", "native", "error: params.yaml: train.kernels: expected 'portable', as RAY_ADDRESS is set"),
        ("ray://127.0.0.1:1", "portable", "error: RAY_ADDRESS: expected HOST:PORT of a cluster in which this machine"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line(address: str, kernels: str, message: str, project: Project) -> None:
    project.edit(lambda params: params["train"].update(kernels=kernels))
    train_cnn_for(project, 2)
    with start(project, *ALONE, RAY_ADDRESS=address) as process:
        told = process.stdout.read()
    assert process.returncode == 1
    assert message in told
    assert "Traceback" not in told


# Prints why each address on its command line cannot be used. A process of its own, as gRPC and Ray's nodes, which
# other tests start by forks, do not go together in one
TRY = """\
import sys
from stages.support.errors import PipelineError
from stages.support.cluster import Cluster
for address in sys.argv[1:]:
    try:
        Cluster(address)
    except PipelineError as error:
        print(error)
"""
OTHER_GRPC = """\
import grpc
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(1))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
input()
"""


class HangsUp(socketserver.BaseRequestHandler):
    """Answers nothing."""


def test_another_service_at_the_address_is_one_line() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as dashboard,
        socketserver.TCPServer(("127.0.0.1", 0), HangsUp) as hangs_up,
        subprocess.Popen([sys.executable, "-c", OTHER_GRPC], stdin=-1, stdout=-1, text=True) as grpc,
    ):
        for server in (dashboard, hangs_up):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = dashboard.server_port, hangs_up.server_address[1], silent.getsockname()[1], int(grpc.stdout.readline())
        addresses = [*(f"127.0.0.1:{port}" for port in ports), "127.0.0.1", "http://127.0.0.1:8265"]
        line = [sys.executable, "-c", TRY, *addresses]
        done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
        for server in (dashboard, hangs_up):
            server.shutdown()
        grpc.communicate("end")
    reasons = ("Failed parsing HTTP/2", "", "no answer within 10 s", "another service answers there", "Invalid address")
    for address, reason, printed in itertools.zip_longest(addresses, reasons, done.stdout.splitlines(), fillvalue=""):
        assert printed.startswith(f"RAY_ADDRESS={address}: cannot reach a Ray cluster: "), done.stdout
        assert printed.endswith("; expected HOST:PORT of a ray start --head, whose port is 6379 by default")
        assert reason in printed
