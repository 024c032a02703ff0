"""Trains on the machines of a Ray cluster: each training is one Ray task, which runs stages/train.py on its node.

A node needs Python, the locked requirements and Ray, and no shared disk. Code and params.yaml go with the task, and the
prepared images to each node once. A node whose processor or library versions would give other bytes is refused by name.
Which node trains what, and again when a node dies, is up to Ray.
"""

import contextlib
import hashlib
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

from stages.common.files import replacing
from stages.common.kernels import why_not_portable
from stages.common.prepared import FILES
from stages.support.apart import OUTPUT, ReportEpoch, train_apart
from stages.support.errors import PipelineError, one_line
from stages.support.versions import other_version, pins
from stages.support.workers import EpochOfSeed

PATIENCE = 10  # seconds that a cluster has to answer
RETRIES = 10  # of a training whose node has died

Sent = dict[str, tuple[str, list[ray.ObjectRef]]]  # files by name: the digest, and where Ray has the bytes


class NodeRefusedError(Exception):
    """Raised on a node that would give other bytes, with the reason."""


def check_node() -> None:
    """Raises `NodeRefusedError` if this node's processor or library versions would give other bytes."""
    reasons = [other_version(pins(folder).read_text(encoding="utf-8")) for folder in ("common", "models")]
    if reason := next(filter(None, [*reasons, why_not_portable("portable")]), ""):
        raise NodeRefusedError(ray.get_runtime_context().get_node_id(), reason)


@ray.remote(num_cpus=1, max_retries=RETRIES)
def train_on_node(name: str, params: str, data: Sent) -> Iterator[Any]:
    """Runs on a node, in a folder with `stages`. Trains as stages/train.py does.

    Args:
        name: of the architecture.
        params: the text of a params.yaml with one seed.
        data: the files of prepared training images.

    Yields:
        (epoch, epochs, logs) after each epoch; at last the stage's exit status, what it printed on stderr, and the
        files that it wrote, by name.
    """
    check_node()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as pool:
        folder, epochs = Path(temporary), queue.SimpleQueue[Any]()

        def train() -> tuple[int, str]:
            try:
                return train_apart(folder, name, params, _received(data), lambda *epoch: epochs.put(epoch))
            finally:
                epochs.put(None)

        training = pool.submit(train)
        for epoch in iter(epochs.get, None):  # noqa: UP028  Ray sends values into what it iterates
            yield epoch
        status, stderr = training.result()
        yield status, stderr, {} if status else {path.name: path.read_bytes() for path in (folder / OUTPUT).iterdir()}


def _received(sent: Sent) -> Path:
    """Returns the folder with the files on this node. Fetches them unless an earlier training has done so."""
    digests = hashlib.sha256("".join(digest for digest, _ in sent.values()).encode()).hexdigest()
    folder = Path(tempfile.gettempdir(), f"mnist-prepared-{digests[:16]}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, (digest, references) in sent.items():
        path = folder / name
        if not path.exists() or hashlib.blake2b(path.read_bytes()).hexdigest() != digest:
            with replacing(path) as partial:
                partial.write_bytes(ray.get(references[0]))
    return folder


def _check_answers(address: str) -> None:
    """Raises `PipelineError` if no Ray cluster answers at HOST:PORT, for which Ray would wait a quarter of an hour."""
    import grpc  # here, as nodes need neither
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    if ":" not in address or os.environ.get("RAY_USE_TLS", "0") != "0":  # 'auto'; a channel with certificates
        return
    try:
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:  # as Ray's own
            cluster = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            cluster.CheckAlive(vars(gcs_service_pb2)["CheckAliveRequest"](), timeout=PATIENCE)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:  # a cluster with tokens
            reasons = {
                grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer within {PATIENCE} s",
                grpc.StatusCode.UNIMPLEMENTED: "another service answers there",
            }
            raise _unreachable(address, reasons.get(error.code()) or error.details()) from error


def _unreachable(address: str, reason: Exception | str) -> PipelineError:
    reason = one_line(str(reason).rpartition("last error: ")[2])
    expected = "expected HOST:PORT of a ray start --head, whose port is 6379 by default"
    return PipelineError(f"RAY_ADDRESS={address}: cannot reach a Ray cluster: {reason}; {expected}")


class Cluster:
    """A connection to a Ray cluster. Raises `PipelineError` if there is none at the address."""

    def __init__(self, address: str) -> None:
        self.refused: set[str] = set()  # IDs of nodes
        self.sent: dict[Path, tuple[str, list[ray.ObjectRef]]] = {}
        self.running: set[ray.ObjectRefGenerator] = set()
        self.lock = threading.Lock()
        _check_answers(address)
        with tempfile.TemporaryDirectory() as package:
            shutil.copytree("stages", f"{package}/stages", ignore=shutil.ignore_patterns("__pycache__"))
            try:
                quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
                ray.init(address, runtime_env={"working_dir": package}, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise _unreachable(address, error) from error

    def cpus(self) -> int:
        """Returns how many trainings the cluster runs at once. Raises `PipelineError` if it is none."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        cpus = sum(int(node["Resources"]["CPU"]) for node in nodes if node["NodeID"] not in self.refused)
        if not cpus:
            raise PipelineError(f"RAY_ADDRESS: none of the cluster's {len(nodes)} nodes with CPUs can be used")
        return cpus

    def train(self, name: str, params: str, data: Path, output: Path, report: ReportEpoch) -> tuple[int, str]:
        """Trains an architecture on some node, and writes the models.

        Args:
            name: of the architecture.
            params: the text of a params.yaml with one seed.
            data: the folder of prepared training images.
            output: the folder to write models, history and summary to.
            report: called after each epoch; what it raises ends the training.

        Returns:
            The stage's exit status, and what it printed on stderr.

        Raises `PipelineError` if it was cancelled, or if no node can finish it.
        """
        with self.lock:
            sent = {file: self._send(data / file) for file in FILES}
        while True:
            avoided = {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(self.refused))})"}}
            values: Any = train_on_node.options(**avoided if self.refused else {}).remote(name, params, sent)
            self.running.add(values)
            try:
                while not isinstance((value := ray.get(next(values)))[1], str):
                    report(*value)
                status, stderr, files = value
                for file, content in files.items():
                    with replacing(output / file) as partial:
                        partial.write_bytes(content)
                return status, stderr
            except NodeRefusedError as refusal:
                self._refuse(*vars(refusal)["cause"].args)  # Ray's exception is of both classes
            except ray.exceptions.TaskCancelledError as error:
                raise PipelineError("the training was cancelled; rerun to continue") from error
            except ray.exceptions.RayError as error:
                raise PipelineError(f"Ray could not finish a training: {one_line(error)}") from error
            finally:
                self.running.discard(values)
                _cancel(values)

    def _send(self, path: Path) -> tuple[str, list[ray.ObjectRef]]:
        """Hands a file to Ray, once. The reference is in a list, so that only a node that needs the bytes gets them."""
        if path not in self.sent:
            content = path.read_bytes()
            self.sent[path] = hashlib.blake2b(content).hexdigest(), [ray.put(content)]
        return self.sent[path]

    def _refuse(self, node: str, reason: str) -> None:
        """Has Ray use a node no more, and prints why, once. Raises `PipelineError` if no other node is left."""
        with self.lock:
            if node not in self.refused:
                self.refused.add(node)
                (name,) = (other["NodeName"] for other in ray.nodes() if other["NodeID"] == node)
                print(f"node {name} ({node[:8]}) is not used: {reason}", file=sys.stderr, flush=True)
            self.cpus()

    def cancel(self) -> None:
        """Ends all trainings."""
        for values in list(self.running):
            _cancel(values)

    def close(self) -> None:
        """Ends the connection."""
        ray.shutdown()


def _cancel(values: ray.ObjectRefGenerator) -> None:
    """Ends a training, if it still runs."""
    with contextlib.suppress(Exception):  # the connection is closed
        ray.cancel(values, force=True)


def train_on_cluster(
    address: str, name: str, params: dict[int, str], data: Path, output: Path, end_epoch: EpochOfSeed
) -> None:
    """Trains an architecture with several seeds on a cluster, as many at once as Ray has room for.

    Args:
        address: of the cluster.
        name: of the architecture.
        params: the text of a params.yaml with one seed, by seed.
        data: the folder of prepared training images.
        output: the folder to write models, histories and the summary to.
        end_epoch: called after each epoch.

    Raises:
        PipelineError: a training failed, with its own line; the others were ended.
    """
    cluster = Cluster(address)

    def run(seed: int) -> None:
        def report(epoch: int, _: int, logs: dict[str, float]) -> None:
            end_epoch(seed, epoch, logs)

        status, stderr = cluster.train(name, params[seed], data, output, report)
        if status:
            lines = stderr.splitlines() or [f"error: exit status {status}"]
            print(*lines[:-1], sep="\n", file=sys.stderr)
            raise PipelineError(f"seed {seed}: {lines[-1].removeprefix('error: ')}")

    try:
        with ThreadPoolExecutor(len(params)) as pool:
            try:
                for future in [pool.submit(run, seed) for seed in params]:
                    future.result()
            except BaseException:
                cluster.cancel()
                raise
    finally:
        cluster.close()
