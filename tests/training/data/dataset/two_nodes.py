"""Builds a data set on a Ray cluster of two nodes on this machine and kills one while it works.

    python -m tests.training.data.dataset.two_nodes DIR [option of omr-data build ...]

Prints, before the build's own summary, how many shards were done when the node was killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from training.data.__main__ import main
from training.data.dataset import build

EXTRA = "cluster"
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
ROWS = 20  # of a shard: enough of them for two nodes


def works(raylet: int) -> bool:
    """Whether a process of the node makes a shard now; Ray writes what a process does into its title."""
    children = [word for path in Path(f"/proc/{raylet}/task").glob("*/children") for word in path.read_text().split()]
    return any(b"ray::_work" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


def kill_midway(raylet: int, folder: Path) -> None:
    """Kill the node when a shard is done and it makes another."""
    while not (list(folder.glob(".shards/*.parquet")) and works(raylet)):
        time.sleep(0.05)
    print("shards done:", len(list(folder.glob(".shards/*.parquet"))), file=sys.__stdout__, flush=True)
    os.kill(raylet, signal.SIGKILL)


def run(folder: Path, options: list[str]) -> int:
    build.SHARD_ROWS = ROWS
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        second = cluster.add_node(**NODE)
        raylet = second.all_processes["raylet"][0].process.pid
        threading.Thread(target=kill_midway, args=(raylet, folder), daemon=True).start()
        cluster_options = ["--executor", "ray", "--address", cluster.address]
        return main(["build", "--out", str(folder), *options, *cluster_options])
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
