"""Trains on the machines of a Ray cluster: each training is one Ray task, which runs stages/train.py on its node.

A node needs Python, the locked requirements and Ray, and no shared disk. Code and params.yaml go with the task, and the
prepared arrays to each node once. A node whose processor or library versions would give other bytes is refused by name.
Which node trains what, and again when a node dies, is up to Ray.
"""

import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from stages.common.errors import PipelineError, one_line
from stages.common.files import replacing
from stages.common.kernels import why_not_portable
from stages.common.versions import PINS, other_version

PATIENCE = 10  # seconds that a cluster has to answer
RETRIES = 10  # of a training whose node has died
SHOW_PROGRESS = "SHOW_PROGRESS"  # of stages/train.py, which needs libraries that a node may lack until it is checked
PACKAGE = ("stages", "tools/__init__.py", "tools/common/__init__.py", "tools/common/cluster.py")  # what a node gets
OUTPUTS = ("model.keras", "summary.txt", "history.csv")  # in the order of the stage's arguments
PR_SET_PDEATHSIG = 1  # of Linux's prctl

Prepared = dict[str, tuple[str, list[ray.ObjectRef]]]  # files by name: the digest, and where Ray has the bytes


class NodeRefusedError(Exception):
    """Raised on a node that would give other bytes; says why."""


def check_node() -> None:
    """Raises `NodeRefusedError` if this node's processor or library versions would give other bytes."""
    whys = [other_version((PINS / f"{name}.txt").read_text(encoding="utf-8")) for name in ("keras", "numpy")]
    if why := next(filter(None, [*whys, why_not_portable("portable")]), ""):
        raise NodeRefusedError(ray.get_runtime_context().get_node_id(), why)


@ray.remote(num_cpus=1, max_retries=RETRIES)
def train_on_node(name: str, seed: str, params: str, prepared: Prepared) -> Iterator[Any]:
    """Runs on a node, in a folder with `PACKAGE`. Trains as stages/train.py does.

    Args:
        name: the architecture's.
        seed: as on the command line.
        params: the text of params.yaml.
        prepared: what preprocess wrote.

    Yields:
        Each line that the stage prints on stderr; at last its exit status, what it printed on stdout, and `OUTPUTS`.
    """
    check_node()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        (folder / "stages").symlink_to(Path("stages").absolute())
        line = [sys.executable, "-m", "stages.train", name, seed, _received(prepared), *OUTPUTS, "checkpoint.npz"]
        with (folder / "stdout").open("w+") as stdout:
            process = subprocess.Popen(
                line,
                cwd=folder,
                env={**os.environ, SHOW_PROGRESS: "yes"},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=_end_with_parent,
            )
            for text in process.stderr:  # noqa: UP028  Ray sends values into what it iterates
                yield text
            status = process.wait()
            stdout.seek(0)
            yield status, stdout.read(), [] if status else [(folder / output).read_bytes() for output in OUTPUTS]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _received(prepared: Prepared) -> str:
    """The folder with the prepared files on this node, which are fetched unless an earlier training has done so."""
    digests = hashlib.sha256("".join(digest for digest, _ in prepared.values()).encode()).hexdigest()
    folder = Path(tempfile.gettempdir(), f"mnist-prepared-{digests[:16]}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, (digest, references) in prepared.items():
        path = folder / name
        if not path.exists() or _digest(path) != digest:
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(ray.get(references[0]))
            Path(file.name).replace(path)
    return str(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _check_answers(address: str) -> None:
    """Raises `PipelineError` if no Ray cluster answers at HOST:PORT, for which Ray would wait a quarter of an hour."""
    import grpc  # here, as nodes need neither
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    if ":" not in address or os.environ.get("RAY_USE_TLS", "0") != "0":  # 'auto'; a channel with certificates
        return
    try:
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:  # as Ray's own
            cluster = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            cluster.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=PATIENCE)
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
    """A connection to a Ray cluster.

    Raises `PipelineError` if there is none at the address.
    """

    def __init__(self, address: str) -> None:
        self.refused: set[str] = set()  # IDs of nodes
        self.sent: dict[Path, tuple[str, list[ray.ObjectRef]]] = {}
        self.lock = threading.Lock()
        _check_answers(address)
        with tempfile.TemporaryDirectory() as package:
            for path in PACKAGE:
                target = Path(package, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if Path(path).is_dir() else shutil.copy
                copy(path, target)
            try:
                ray.init(address, runtime_env={"working_dir": package}, log_to_driver=False, logging_level="error")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise _unreachable(address, error) from error

    def cpus(self) -> int:
        """How many trainings the cluster runs at once. Raises `PipelineError` if it is none."""
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
        usable = [int(node["Resources"]["CPU"]) for identity, node in alive.items() if identity not in self.refused]
        if not usable:
            raise PipelineError(f"RAY_ADDRESS: none of the cluster's {len(alive)} nodes with CPUs can be used")
        return sum(usable)

    def train(self, arguments: list[str], folder: Path) -> "RemoteTraining":
        """Starts a training, as `python -m stages.train ARGUMENTS` in a folder does here."""
        name, seed, prepared, *_ = arguments
        with self.lock:
            files = {path.name: self._send(path) for path in sorted((folder / prepared).glob("*"))}
        params = (folder / "params.yaml").read_text(encoding="utf-8")
        return RemoteTraining(self, (name, seed, params, files), [folder / path for path in arguments[3:6]])

    def _send(self, path: Path) -> tuple[str, list[ray.ObjectRef]]:
        """Hands a file to Ray, once. The reference is in a list, so that only a node that needs the bytes gets them."""
        if path not in self.sent:
            content = path.read_bytes()
            self.sent[path] = hashlib.blake2b(content).hexdigest(), [ray.put(content)]
        return self.sent[path]

    def refuse(self, node: str, why: str) -> None:
        """Has Ray use a node no more, and says why, once. Raises `PipelineError` if no other node is left."""
        with self.lock:
            if node not in self.refused:
                self.refused.add(node)
                names = {each["NodeID"]: each["NodeName"] for each in ray.nodes()}
                print(f"node {names.get(node)} ({node[:8]}) is not used: {why}", file=sys.stderr, flush=True)
            self.cpus()

    def close(self) -> None:
        """Ends the connection, and all trainings with it."""
        ray.shutdown()


class RemoteTraining:
    """A training on some node of a cluster.

    Args:
        cluster: the connection.
        arguments: of `train_on_node`.
        outputs: where to write `OUTPUTS`.
    """

    def __init__(self, cluster: Cluster, arguments: tuple[Any, ...], outputs: list[Path]) -> None:
        self.cluster, self.arguments, self.outputs = cluster, arguments, outputs
        self.cancelled = False
        self._start()

    def _start(self) -> None:
        refused = self.cluster.refused
        where = {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(refused))})"}} if refused else {}
        self.values = train_on_node.options(**where).remote(*self.arguments)

    def run(self, tell: Callable[[str], None]) -> tuple[int, str]:
        """Calls `tell` with each line that the stage prints on stderr; what it raises ends the training.

        Writes the outputs, and returns the stage's exit status and what it printed on stdout. Raises `PipelineError` if
        the training is cancelled, or if no node can finish it.
        """
        try:
            while True:
                try:
                    value = ray.get(next(self.values))
                except NodeRefusedError as refusal:
                    if self.cancelled:
                        raise ray.exceptions.TaskCancelledError from refusal
                    self.cluster.refuse(*refusal.cause.args)  # Ray's exception is of both classes
                    self._start()
                    continue
                if isinstance(value, str):
                    tell(value)
                    continue
                status, stdout, outputs = value
                for path, content in zip(self.outputs, outputs, strict=False):
                    with replacing(path) as partial:
                        partial.write_bytes(content)
                return status, stdout
        except ray.exceptions.TaskCancelledError as error:
            raise PipelineError("the training was cancelled; rerun to continue") from error
        except ray.exceptions.RayError as error:
            raise PipelineError(f"Ray could not finish a training: {one_line(error)}") from error
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends it, if it still runs."""
        self.cancelled = True
        with contextlib.suppress(Exception):  # the connection is closed
            ray.cancel(self.values, force=True)
