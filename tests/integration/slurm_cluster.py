"""A real Slurm on this machine for the tests: its controller and two nodes that share the processor.

It is for one test on the loopback address, so nobody has to prove who he is. Debian's packages bring what it needs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.processes import Service, free_ports, start_service

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol")
CPUS = 2
"""Of each node: Slurm takes no more than the machine has."""
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here, if so."""
    if os.getuid() != 0 or (os.cpu_count() or 1) < CPUS:
        return "Slurm's nodes want root and two processors"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"Slurm is not installed: {', '.join(lacking)}" if lacking else None


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Slurm with two nodes; yields the environment by which its commands find it."""
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(host=host, ports=free_ports(3), folder=folder, cpus=CPUS))
    environment = {**os.environ, "SLURM_CONF": str(path)}
    started: list[Service] = []
    try:
        started.append(start_service("controller", ["slurmctld", "-D", "-c"], folder / "controller.log", environment))
        for node in ("n1", "n2"):
            started.append(start_service(node, ["slurmd", "-D", "-N", node], folder / f"{node}.log", environment))
        deadline_s = time.monotonic() + 120
        while "idle" not in (told := _ask(["sinfo", "-h", "-o", "%T %D"], environment)) or "2" not in told:
            assert time.monotonic() < deadline_s, f"Slurm's nodes do not come: {told}"
            time.sleep(0.5)
        yield environment
    finally:
        for service in reversed(started):
            service.stop()


def state_of(job: str, environment: dict[str, str]) -> dict[str, str]:
    """What Slurm knows of a job, by its own names."""
    words = _ask(["scontrol", "--oneliner", "show", "job", job], environment).split()
    return dict(word.partition("=")[::2] for word in words)


def _ask(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60).stdout
