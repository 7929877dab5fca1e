"""A Slurm cluster of this one machine, for the time of a test: no systemd, cgroups or munge."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=120
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why no cluster can be started here; empty if one can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"Slurm is not installed: no {', '.join(missing)} (Debian's package slurm-wlm)"
    return "" if os.geteuid() == 0 else "only root can start Slurm's daemons"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start both daemons; yield the environment that Slurm's commands need."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    values = {"host": host, "folder": folder, "ports": free_ports(2), "cpus": os.cpu_count()}
    config.write_text(CONFIG.format(**values))
    environment = {"SLURM_CONF": str(config)}
    everything = {**os.environ, **environment, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with (folder / "daemons.log").open("w") as log:
        daemons = [
            subprocess.Popen([name, "-D"], env=everything, stdout=log, stderr=log)
            for name in ("slurmctld", "slurmd")
        ]
        try:
            wait_until_idle(everything)
            yield environment
        finally:
            subprocess.run(["scancel", "--state=RUNNING"], env=everything, check=False)
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(60)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_idle(environment: dict[str, str]) -> None:
    command = ["sinfo", "--noheader", "--format=%T"]
    for _ in range(60):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.stdout.strip() == "idle":
            return
        time.sleep(1)
    raise AssertionError(f"Slurm did not start: {done.stdout}{done.stderr}")
