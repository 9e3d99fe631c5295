"""Workers as actors of a Ray cluster: one of this machine alone, or one that is there, by its address.

Every node needs the same invmm; that is asked before anything is played. Recorded markets are read here and
travel to the workers through Ray's object store, so no node needs the files.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

from invmm.errors import ConfigError, TransportError
from invmm.research.markets import GENERATED
from invmm.research.provenance import code_digest
from invmm.research.work import Bench, Job, Outcome, Task

LOCAL: Final = "local"
PLACE_S: Final = 120.0  # for the cluster to find room for the workers
REACH_S: Final = 5.0
LOOPBACK_ONLY: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch, on every system: "0" keeps a cluster and those who join it at 127.0.0.1."""
EXIT_DETAIL: Final = "exit detail: "
STORE_BYTES: Final = 512 << 20  # of a cluster of this machine alone


class RayCrew:
    """`size` actors, or as many as the cluster has processors.

    Parameters
    ----------
    task : Task
    size : int
        At most so many workers; 0: one for each processor of the cluster.
    address : str
        "local" for a new cluster on this machine, which ends with this crew; else the `host:port` that
        `ray start --head` prints, or "auto".

    Raises
    ------
    ConfigError
        Ray is not installed, nothing listens at the address, or a node has another invmm.
    TransportError
        The cluster has no room for the workers.
    """

    def __init__(self, task: Task, size: int, address: str) -> None:
        self._ray = ray = ray_module(address)
        self._task = task
        self._refs: dict[int, tuple[str, Any]] = {}
        """Of each worker: the recorded market that it was given last, in the object store."""
        self._busy: dict[Any, int] = {}
        _connect(ray, size, address)
        try:
            processors = int(ray.cluster_resources().get("CPU", 0))
            self.size = min(size or processors, processors)
            if self.size < 1:
                raise TransportError(f"--ray {address}: expected a cluster with a processor, found none")
            self._actor = ray.remote(num_cpus=1, max_restarts=0)(RemoteBench)
            self._workers = [self._actor.remote(task) for _ in range(self.size)]
            self._compare(address)
        except BaseException:
            ray.shutdown()
            raise

    def give(self, worker: int, job: Job) -> None:
        """Sends it, with its market if that is a recorded one."""
        self._busy[self._workers[worker].play.remote(job, self._boxed(worker, job.market))] = worker

    def wait(self) -> list[tuple[int, Outcome]]:
        """Outcomes of those that are done or have ended."""
        done = []
        for ref in self._ray.wait(list(self._busy), num_returns=1)[0]:
            worker = self._busy.pop(ref)
            try:
                done.append((worker, self._ray.get(ref)))
            except self._ray.exceptions.RayError as error:
                self._workers[worker] = self._actor.remote(self._task)
                self._refs.pop(worker, None)
                done.append(
                    (worker, Outcome(None, f"the worker ended: {type(error).__name__}: {_why(error)}"))
                )
        return done

    def close(self, *, at_once: bool = False) -> None:
        """Gives the actors back and leaves the cluster."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers, self._busy, self._refs = [], {}, {}
        self._ray.shutdown()

    def _boxed(self, worker: int, market: str) -> list[Any]:
        """In a list, because Ray would fetch a bare reference whether the actor needs it or not."""
        if market.startswith(GENERATED):
            return []
        held = next((ref for name, ref in self._refs.values() if name == market), None)
        if held is None:
            try:
                held = self._ray.put(self._task.fetch(market))
            except Exception as error:  # the actor tells it as the outcome of its job
                held = self._ray.put(error)
        self._refs[worker] = (market, held)
        return [held]

    def _compare(self, address: str) -> None:
        try:
            told = self._ray.get([worker.introduce.remote() for worker in self._workers], timeout=PLACE_S)
        except self._ray.exceptions.GetTimeoutError:
            raise TransportError(
                f"--ray {address}: expected room for {self.size} workers of one processor each within "
                f"{PLACE_S:g} s; the cluster is busy (see `ray status`), --jobs asks for fewer"
            ) from None
        except self._ray.exceptions.RayError as error:
            raise ConfigError(
                f"--ray {address}: expected invmm on every node; a worker could not start: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        ours = code_digest()
        for node, digest in told:
            if digest != ours:
                raise ConfigError(
                    f"--ray {address}: expected the same invmm on every node, code digest {ours}; "
                    f"node {node} has {digest}"
                )


class RemoteBench:
    """A worker's place on a node."""

    def __init__(self, task: Task) -> None:
        self._bench = Bench(task)

    def introduce(self) -> tuple[str, str]:
        """The node's name and the digest of its code."""
        return socket.gethostname(), code_digest()

    def play(self, job: Job, boxed: list[Any]) -> Outcome:
        """Plays one job; a recorded market comes in the box, and is taken out when it is another one."""

        def unboxed(_market: str) -> Any:
            found = ray_module().get(boxed[0])
            if isinstance(found, Exception):
                raise found
            return found

        return self._bench.play(job, unboxed if boxed else None)


def ray_module(address: str = "") -> Any:
    """Ray; ConfigError says how to get it. `address` is where the cluster will be: one of this machine alone
    is kept from listening to others, who could run code in it, and that is decided when Ray is imported.
    """
    if address == LOCAL:
        os.environ.setdefault(LOOPBACK_ONLY, "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"--ray: needs the extra `ray` (pip install 'invmm[ray]'): {error}") from error
    return ray


def _why(error: Exception) -> str:
    """What a failure of Ray's says in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    detail = next((line for line in lines if EXIT_DETAIL in line), "").partition(EXIT_DETAIL)[2]
    return f"{lines[0]} {detail}".strip()[:300]


def _connect(ray: Any, size: int, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address == LOCAL:
            ray.init(
                address="local",
                num_cpus=size or None,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **quiet,
            )
        else:
            _reach(ray, address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        frames = extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        raise ConfigError(f"--ray {address}: cannot be joined: {error}{where}") from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray takes it for itself


def _reach(ray: Any, address: str) -> None:
    """Asks whether anything listens, since Ray itself goes on asking for minutes."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"--ray: expected local, auto or host:port, found {address!r}")
    name = host.strip("[]")
    hint = ""
    if name in ("localhost", "127.0.0.1", "::1"):
        name = ray.util.get_node_ip_address()  # Ray asks there, since other nodes could not ask at loopback
        hint = f"; one that listens at loopback alone needs {LOOPBACK_ONLY}=0 here, too"
    try:
        socket.create_connection((name, int(port)), REACH_S).close()
    except OSError as error:
        raise ConfigError(
            f"--ray {address}: expected a cluster at {name}:{port} (`ray start --head` prints its address), "
            f"found none: {error.strerror or error}{hint}"
        ) from error
