"""Slurm on this machine alone: started for one command, and ended with it. Needs root.

    python -m tests.launch.slurm COMMAND...

Debian's packages slurm-wlm and munge are installed where they are missing.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = ("slurm-wlm", "munge")
_PATIENCE_S = 60.0
# The least with which slurmctld and slurmd of Slurm 22.05 start steps, as the same user, unbound.
_CONF = """
ClusterName=m43
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE
"""


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Run the three daemons, and give the variables by which srun finds them."""
    if any(shutil.which(name) is None for name in ("slurmctld", "slurmd", "srun", "munged")):
        subprocess.run(["apt-get", "install", "-y", "-q", *_PACKAGES], check=True)
    with tempfile.TemporaryDirectory(prefix="m43-slurm-", dir="/tmp") as name:
        folder = Path(name)
        host, cores = socket.gethostname().partition(".")[0], os.cpu_count() or 1
        conf = folder / "slurm.conf"
        conf.write_text(_CONF.format(folder=folder, host=host, cores=cores))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        variables = {"SLURM_CONF": str(conf)}
        munge = [f"--{word}={folder}/munge.{end}" for word, end in
                 (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"),
                  ("log-file", "log"), ("seed-file", "seed"))]  # fmt: skip
        commands = (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D", "-c", "-f", str(conf)],
            ["slurmd", "-D", "-c", "-f", str(conf), "-N", host],
        )
        with contextlib.ExitStack() as daemons:
            for command in commands:
                daemons.enter_context(_running(command, os.environ | variables))
                time.sleep(1.0)
            _wait_for_a_step(os.environ | variables)
            yield variables


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_a_step(environment: dict[str, str]) -> None:
    words = ["srun", "--ntasks=2", "--overcommit", "--immediate=5", "true"]
    until = time.monotonic() + _PATIENCE_S
    while subprocess.run(words, env=environment, capture_output=True, check=False).returncode:
        if time.monotonic() > until:
            raise RuntimeError("Slurm did not start a step")
        time.sleep(1.0)


def main(command: list[str]) -> int:
    """Run a command beside Slurm, and return its status."""
    with slurm() as variables:
        return subprocess.run(command, env=os.environ | variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
