"""Trainings on a real Ray cluster, with nodes on this machine: the bytes of a local run, whatever happens."""

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster as Nodes

from stages.support.errors import PipelineError
from stages.support.resources import cluster_address

from .conftest import ROOT, Project
from .faults import is_alive, outputs, wait_until
from .forked import Started, started
from .test_space import SIMPLE

TRAIN = ("dvc", "repro", "train@cnn")


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    """A cluster with a head, on which nothing is trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_gcs_server_port_wait_time_s", "600")  # not the usual 30, however busy the machine is
        patch.setenv("RAY_worker_niceness", "0")  # not the usual 15, with which trainings starve on a busy machine
        head = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield head
        head.shutdown()


@pytest.fixture
def nodes(head: Nodes) -> Iterator[Nodes]:
    """The cluster, to which a test adds nodes."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)


def start(project: Project, nodes: Nodes, *command: str) -> contextlib.AbstractContextManager[Started]:
    return started(project, *command, RAY_ADDRESS=nodes.address)


def run(project: Project, nodes: Nodes, *command: str, status: int = 0) -> str:
    with start(project, nodes, *command) as process:
        ended, printed = process.wait()
    assert bool(ended) == bool(status), printed
    assert "Traceback" not in printed
    return printed


@pytest.fixture
def stale(project: Project) -> Project:
    """The built project, in which one architecture is to be trained, with two epochs."""
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=2))
    return project


class Gate:
    """Has each training of a project end an epoch, and then wait until the gate is open."""

    def __init__(self, project: Project) -> None:
        self.waiting, self.gate = project.path.parent / "waiting", project.path.parent / "gate"
        os.mkfifo(self.gate)  # which can be opened for reading once another process opens it for writing
        module = project.path / "stages/models/training.py"
        before, line, after = module.read_text().partition("        checkpoint.save(model, history)\n")
        assert line
        wait = f"write_text(Path({str(self.waiting)!r}), str(os.getpid())); open({str(self.gate)!r})"
        module.write_text(f"{before}{line}        import os; {wait}\n{after}")

    def wait_for_a_training(self, command: Started) -> psutil.Process:
        """Returns the training that waits at the gate, once a command has started it."""
        wait_until(lambda: self.waiting.exists() or command.has_ended())
        assert self.waiting.exists(), command.wait()
        return psutil.Process(int(self.waiting.read_text()))

    def open(self) -> None:
        """Lets all trainings pass, those that wait already too."""
        os.open(self.gate, os.O_RDWR)


def test_a_cluster_gives_the_bytes_of_a_local_run(nodes: Nodes, stale: Project, tmp_path: Path) -> None:
    here, before = stale.clone(tmp_path / "here"), outputs(stale)
    nodes.add_node(num_cpus=1, env_vars={"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2"})
    printed = run(stale, nodes, *TRAIN, status=1)
    assert "is not used: GLIBC_TUNABLES chooses functions of the C library" in printed
    assert "error: RAY_ADDRESS: none of the cluster's 1 nodes with CPUs can be used" in printed
    after = outputs(stale)
    assert all(after[path] == content for path, content in before.items() if not path.startswith("data/models/cnn"))

    nodes.add_node(num_cpus=1)
    line, environment = ["python", "-m", "tools.repro", "train@cnn"], stale.environment | {"RAY_ADDRESS": nodes.address}
    printed = subprocess.check_output(line, cwd=stale.path, env=environment, text=True)  # real, as Ray starts threads
    assert "trained with seed 10" in printed
    here.repro("train@cnn")
    assert outputs(stale) == outputs(here)
    assert (stale.path / "dvc.lock").read_bytes() == (here.path / "dvc.lock").read_bytes()

    (stale.path / "space.yaml").write_text(SIMPLE)
    run(stale, nodes, "python", "-m", "tools.sweep", "space.yaml", "--trials", "1", "--write")
    stale.repro("train@found")
    (model,) = stale.path.glob("sweeps/found/trainings/*/models/10.keras")
    assert model.read_bytes() == (stale.path / "data/models/found/10.keras").read_bytes()


def test_a_training_whose_node_dies_runs_elsewhere_and_ctrl_c_ends_it_there(nodes: Nodes, stale, tmp_path) -> None:
    gate, before = Gate(stale), (stale.path / "dvc.lock").read_bytes()
    first, here = nodes.add_node(num_cpus=1), stale.clone(tmp_path / "here")
    with start(stale, nodes, *TRAIN) as process:
        training = gate.wait_for_a_training(process)
        os.killpg(process.process.pid, signal.SIGINT)
        assert process.wait()[0] != 0
    wait_until(lambda: not is_alive(training))
    assert (stale.path / "dvc.lock").read_bytes() == before

    gate.waiting.unlink()
    with start(stale, nodes, *TRAIN) as process:
        training = gate.wait_for_a_training(process)
        nodes.add_node(num_cpus=1)
        nodes.remove_node(first, allow_graceful=False)
        wait_until(lambda: not is_alive(training))
        gate.open()
        status, printed = process.wait()
    assert status == 0, printed
    here.repro("train@cnn")
    assert outputs(stale) == outputs(here)


@pytest.mark.parametrize(
    ("address", "kernels", "message"),
    [
        ("127.0.0.1:1", "native", "params.yaml: train.kernels: expected 'portable', as RAY_ADDRESS is set"),
        ("ray://127.0.0.1:1", "portable", "RAY_ADDRESS: expected HOST:PORT of a cluster in which this machine is"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line(address: str, kernels: str, message: str, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(PipelineError) as error:
        cluster_address(kernels)
    assert str(error.value).startswith(message)
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert cluster_address(kernels) is None


# Prints why each address on its command line cannot be used, of which the first never answers. A process of its own, as
# gRPC and Ray's nodes, which other tests start by forks, do not go together in one
TRY = """\
import sys
from stages.support.errors import PipelineError
from stages.support import cluster
for address, cluster.PATIENCE in zip(sys.argv[1:], [0.1] + [cluster.PATIENCE] * 9):
    try:
        cluster.Cluster(address)
    except PipelineError as error:
        print(error)
"""


def test_another_service_at_the_address_is_one_line() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as dashboard,
    ):
        threading.Thread(target=dashboard.serve_forever, daemon=True).start()
        reasons = {
            f"127.0.0.1:{silent.getsockname()[1]}": "Deadline Exceeded",
            f"127.0.0.1:{dashboard.server_port}": "Failed parsing HTTP/2",
            "127.0.0.1:1": "Connection refused",
            "127.0.0.1": "",
            "http://127.0.0.1:8265": "",
        }
        line = [sys.executable, "-c", TRY, *reasons]
        done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
        dashboard.shutdown()
    for (address, reason), printed in zip(reasons.items(), done.stdout.splitlines(), strict=True):
        assert printed.startswith(f"RAY_ADDRESS={address}: cannot reach a Ray cluster: "), done.stdout
        assert printed.endswith("; expected HOST:PORT of a ray start --head, whose port is 6379 by default")
        assert reason in printed
