"""Trains on the machines of a Ray cluster: each training is one Ray task, which runs stages/train.py on its node.

A node needs Python, the locked requirements and Ray, and no shared disk. Code and params.yaml go with the task, and the
prepared images to each node once. A node whose processor or library versions would give other bytes is refused by name.
Ray chooses the node of each training, and another one if that dies.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import ray
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from stages.common.files import replacing
from stages.common.kernels import why_not_portable
from stages.common.prepared import FILES, IMAGES
from stages.support.errors import PipelineError, one_line
from stages.support.processes import DVC_STAGE, REPRO_FOLDER
from stages.support.progress import read_events
from stages.support.resources import RAY_ADDRESS
from stages.support.versions import other_version, pins
from stages.support.workers import MOMENT, End, EpochOfSeed, Slots, raise_error

PATIENCE = 10  # seconds that a cluster has to answer
RETRIES = 10  # of a training whose node has died


class Job(NamedTuple):
    """A training: a key of the caller's, the architecture's name, a params.yaml with one seed, and where to write."""

    key: Any
    name: str
    params: str
    output: Path


Sent = dict[str, tuple[str, list[ray.ObjectRef]]]  # files by name: the digest, and where Ray has the bytes


class NodeRefusedError(Exception):
    """Has the ID of a node that would give other bytes, and the reason."""


@ray.remote(num_cpus=1, max_retries=RETRIES)
def train_on_node(name: str, params: str, data: Sent) -> Iterator[Any]:
    """Runs stages/train.py on a node, which has `stages` in its folder. Arguments are as those of `Job`.

    Yields (epoch, logs) after each epoch; at last the files that the stage wrote, by name, or what it printed on
    stderr. Raises `NodeRefusedError` if this node's processor or library versions would give other bytes.
    """
    reasons = [other_version(pins(folder).read_text(encoding="utf-8")) for folder in ("common", "models")]
    if reason := next(filter(None, [*reasons, why_not_portable("portable")]), ""):
        raise NodeRefusedError(ray.get_runtime_context().get_node_id(), reason)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        (folder / "stages").symlink_to(Path("stages").absolute())
        Slots.make(folder, 1)
        environment = {**os.environ, REPRO_FOLDER: temporary, DVC_STAGE: ""}
        environment.pop(RAY_ADDRESS, None)
        line = [sys.executable, "-m", "stages.train", name, str(_received(data)), "models"]
        with (
            (folder / "stderr").open("w+", errors="replace") as stderr,
            subprocess.Popen(line, cwd=folder, env=environment, stdout=stderr, stderr=stderr) as process,
        ):
            try:
                reported, ended = 0, False
                while not ended:
                    time.sleep(MOMENT)
                    ended = process.poll() is not None
                    for event in read_events(folder, "")[reported:]:
                        reported += 1
                        if "epoch" in event:
                            yield event["epoch"], event["logs"]
            finally:
                process.terminate()
            stderr.seek(0)
            failure = stderr.read() or f"exit status {process.returncode}"
        yield failure if process.returncode else {path.name: path.read_bytes() for path in folder.glob("models/*")}


def _received(sent: Sent) -> Path:
    """Returns the folder with the files on this node. Fetches them unless an earlier training has done so."""
    folder = Path(tempfile.gettempdir(), f"mnist-prepared-{sent[IMAGES][0][:16]}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, (digest, references) in sent.items():
        path = folder / name
        if not path.exists() or hashlib.blake2b(path.read_bytes()).hexdigest() != digest:
            with replacing(path) as partial:
                partial.write_bytes(ray.get(references[0]))
    return folder


class Cluster:
    """A connection to a Ray cluster. Raises `PipelineError` if there is none at the address."""

    def __init__(self, address: str) -> None:
        self.refused: set[str] = set()  # IDs of nodes
        try:
            if ":" in address:  # not 'auto'; Ray itself would wait a quarter of an hour for an answer
                with create_gcs_channel(address) as channel:
                    service = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
                    service.CheckAlive(vars(gcs_service_pb2)["CheckAliveRequest"](), timeout=PATIENCE)
            with tempfile.TemporaryDirectory() as package:
                shutil.copytree("stages", f"{package}/stages", ignore=shutil.ignore_patterns("__pycache__"))
                quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
                ray.init(address, runtime_env={"working_dir": package}, **quiet)
        except (grpc.RpcError, ConnectionError, ValueError, RuntimeError) as error:
            reason = error.details() if isinstance(error, grpc.Call) else error
            expected = "expected HOST:PORT of a ray start --head, whose port is 6379 by default"
            unreachable = f"{RAY_ADDRESS}={address}: cannot reach a Ray cluster: {one_line(reason)}"
            raise PipelineError(f"{unreachable}; {expected}") from error

    def cpus(self) -> int:
        """Returns how many trainings the cluster runs at once. Raises `PipelineError` if it is none."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        cpus = sum(int(node["Resources"]["CPU"]) for node in nodes if node["NodeID"] not in self.refused)
        if not cpus:
            raise PipelineError(f"{RAY_ADDRESS}: none of the cluster's {len(nodes)} nodes with CPUs can be used")
        return cpus

    def train_side_by_side(
        self, jobs: Iterable[Job], data: Path, count: int, end_epoch: EpochOfSeed, end: End = raise_error
    ) -> None:
        """Trains on the nodes, `count` at once, as the function of this name in workers.py does here.

        `data` is the folder of prepared training images. `end_epoch` and `end` are called with a job's key. Raises
        `PipelineError` if `end` does, or if no node can finish a training; the others are ended.
        """
        contents = {file: (data / file).read_bytes() for file in FILES}
        # The references are in lists, so that only a node that needs the bytes gets them
        sent = {file: (hashlib.blake2b(content).hexdigest(), [ray.put(content)]) for file, content in contents.items()}
        waiting, running = iter(jobs), dict[ray.ObjectRefGenerator, Job]()
        try:
            while True:
                while len(running) < count and (job := next(waiting, None)):
                    running[self._start(job, sent)] = job
                if not running:
                    return
                ready: Any = ray.wait(list(running))  # one
                messages = ready[0][0]
                job = running[messages]
                try:
                    goes_on = _receive(job, ray.get(next(messages)), end_epoch, end)
                except NodeRefusedError as refusal:
                    self._refuse(*vars(refusal)["cause"].args)  # Ray's exception is of both classes
                    running[self._start(job, sent)] = job
                    goes_on = False
                except ray.exceptions.RayError as error:
                    raise PipelineError(f"Ray could not finish a training: {one_line(error)}") from error
                if not goes_on:
                    del running[messages]
                    ray.cancel(messages, force=True)
        finally:
            for messages in running:
                ray.cancel(messages, force=True)

    def _start(self, job: Job, sent: Sent) -> ray.ObjectRefGenerator:
        """Starts a training on a node that is not refused."""
        avoided = {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(self.refused))})"}}
        task: Any = train_on_node.options(**avoided if self.refused else {})
        return task.remote(job.name, job.params, sent)

    def _refuse(self, node: str, reason: str) -> None:
        """Uses a node no more, and prints why, once. Raises `PipelineError` if no other node is left."""
        if node not in self.refused:
            self.refused.add(node)
            (name,) = (other["NodeName"] for other in ray.nodes() if other["NodeID"] == node)
            print(f"node {name} ({node[:8]}) is not used: {reason}", file=sys.stderr, flush=True)
        self.cpus()

    def close(self) -> None:
        """Ends the connection."""
        ray.shutdown()


def _receive(job: Job, message: Any, end_epoch: EpochOfSeed, end: End) -> bool:
    """Handles what a node yields. Returns whether the training goes on."""
    if isinstance(message, tuple):
        return not end_epoch(job.key, *message)
    if isinstance(message, dict):
        for file, content in message.items():
            with replacing(job.output / file) as partial:
                partial.write_bytes(content)
        end(job.key, None)
        return False
    *_, last = message.splitlines()
    if not last.startswith("error: "):
        print(message, file=sys.stderr)
        raise PipelineError(f"{job.name}: the training failed on its node, see above")
    end(job.key, PipelineError(last.removeprefix("error: ")))
    return False


def train_on_cluster(
    address: str, name: str, params: dict[int, str], data: Path, output: Path, end_epoch: EpochOfSeed
) -> None:
    """Trains an architecture with several seeds on a cluster, as many at once as Ray has room for.

    `params` has the text of a params.yaml for each seed. Raises `PipelineError` with the stage's own line if a training
    failed; the others are ended.
    """
    with contextlib.closing(Cluster(address)) as cluster:
        jobs = [Job(seed, name, text, output) for seed, text in params.items()]
        cluster.train_side_by_side(jobs, data, len(jobs), end_epoch)
