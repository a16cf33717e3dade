"""Uses a Ray cluster, or starts Ray on this machine. If a node dies, only its shards are made again, elsewhere."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, redirect_stdout

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402  after the setting above
import ray.exceptions  # noqa: E402

from runtime.errors import OmrError  # noqa: E402
from training.data.cache import fingerprint  # noqa: E402
from training.data.dataset.executor import Job  # noqa: E402

EXTRA = "cluster"
RETRIES = 5  # of a shard whose process or node died
DIED = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)


class Ray:
    """Contents come back through Ray, so nodes share no files; each has this project and its packages installed."""

    takes_address = True

    def run(
        self, jobs: Sequence[Job], make: Callable[[Job], bytes], workers: int | None, address: str | None
    ) -> Generator[tuple[Job, bytes], None, None]:
        return _results(_connect(address or os.environ.get("RAY_ADDRESS") or "local", workers), jobs, make, workers)


def _connect(address: str, workers: int | None) -> AbstractContextManager[object]:
    """A connection that ends with everything that runs through it."""
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit() and "/" not in host:  # Ray itself would wait for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        started_here = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
        connection: AbstractContextManager[object] = ray.init(
            address=address, logging_level=logging.ERROR, log_to_driver=False, **started_here
        )
        return connection
    except (OSError, ValueError, RuntimeError) as error:
        raise OmrError(
            f"no Ray cluster answers at {address!r}; start one with ray start --head, "
            "or leave out --address and RAY_ADDRESS to start one here"
        ) from error


def _results(
    connection: AbstractContextManager[object], jobs: Sequence[Job], make: Callable[[Job], bytes], workers: int | None
) -> Generator[tuple[Job, bytes], None, None]:
    with connection, redirect_stdout(sys.stderr):  # Ray prints about lost nodes; only answers go to stdout
        shared, waiting = ray.put(make), deque(jobs)
        running: dict[ray.ObjectRef, Job] = {}
        while waiting or running:
            most = workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes come and go
            while waiting and len(running) < most:
                job = waiting.popleft()
                running[_work.remote(shared, job, fingerprint())] = job
            [done], _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), _received(done)


@ray.remote(max_retries=RETRIES)
def _work(make: Callable[[Job], bytes], job: Job, wanted: str) -> bytes:
    if fingerprint() != wanted:
        raise OmrError(
            f"node {ray.util.get_node_ip_address()} of the cluster has other versions of this project or of its "
            "packages; install the same ones on all nodes, or its pictures would differ"
        )
    return make(job)


def _received(done: ray.ObjectRef) -> bytes:
    try:
        return bytes(ray.get(done))
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, OmrError) else error) from None
    except DIED as error:
        raise OmrError(
            f"a shard's process or node died {RETRIES + 1} times ({type(error).__name__}); look at the nodes' memory, "
            "then run the same command again to go on where it stopped"
        ) from error


EXECUTOR = Ray()
