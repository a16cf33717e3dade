"""A real SLURM of two nodes on this machine, as root, without systemd or munge; its daemons end with the block.

Debian 12's packages, SLURM 22.05: `make setup-cluster` installs them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
# Jobs that come back wait for the old credential to expire: cred_expire, 120 s by default.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=120
GresTypes=gpu
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 State=UNKNOWN Gres=gpu:1
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN Gres=gpu:1
PartitionName=debug Nodes=ALL Default=YES MaxTime=60 State=UP
"""
GPUS = "NodeName=n[1-2] Name=gpu Count=1 File=/dev/null\n"  # SLURM counts it and looks no further


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every 0.1 s.

    Raises:
        TimeoutError: it didn't become true.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


@dataclass(frozen=True)
class Slurm:
    """A running cluster.

    Attributes:
        folder: of its configuration, state and logs.
    """

    folder: Path

    def call(self, *words: str, folder: Path | None = None, **variables: str) -> str:
        """What one of SLURM's commands answers."""
        environment = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")} | variables
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def field(self, job: str, name: str) -> str:
        """One of the fields that `scontrol show job` tells, such as JobState."""
        words = self.call("scontrol", "show", "job", "--oneliner", job).split()
        return next(word.split("=", 1)[1] for word in words if word.startswith(f"{name}="))

    def wait_for(self, job: str, state: str, seconds: float) -> None:
        """`sbatch --wait` looks too seldom."""
        wait_until(lambda: self.field(job, "JobState") == state, seconds, f"job {job} {state}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def daemon(folder: Path, name: str, *words: str) -> Iterator[None]:
    """A child of this process, so that nothing is left of it."""
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def two_nodes(folder: Path) -> Iterator[Slurm]:
    """Nodes n1 and n2 of two cores and a make-believe GPU, ready for jobs."""
    for part in ("state", "spool-n1", "spool-n2"):
        (folder / part).mkdir(parents=True)
    configuration = CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=free_ports(3))
    (folder / "slurm.conf").write_text(configuration)
    (folder / "gres.conf").write_text(GPUS)
    slurm = Slurm(folder)
    with ExitStack() as stack:
        stack.enter_context(daemon(folder, "slurmctld", "slurmctld", "-D"))
        for node in ("n1", "n2"):
            stack.enter_context(daemon(folder, node, "slurmd", "-D", "-N", node))
        wait_until(lambda: idle(slurm) == 2, 30, "two idle nodes")
        yield slurm


def idle(slurm: Slurm) -> int:
    """How many nodes wait for a job; none while the controller doesn't answer."""
    try:
        return slurm.call("scontrol", "show", "nodes", "--oneliner").count("State=IDLE ")
    except AssertionError:
        return 0
