"""The meeting of a run's processes: where each is, how they find, tell and await one another.

The launcher starts every process, and jax's own detection says which one this is and where the
first one is (Open MPI, Slurm, or the three variables that the operators of Kubernetes set). Here is
the only place that touches jax's distributed client: of what it can do with a time limit nothing is
public, and what is public (`sync_global_devices`) waits for ever.

Source: jax 0.10.2, `_src/distributed.py` and `_src/clusters/`.
"""

import contextlib
import hashlib
import importlib.util
import ipaddress
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import jax

from m43.errors import FailureClass, M43Error
from m43.records import LaunchTable, Profile, RunDir

# Beside the limit of a person: jax's own ends the process without a word.
_LATER_S = 30
# For the others to read what all have told already.
_READ_S = 10.0
_FROM_OUTSIDE = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class ProcessesMissingError(M43Error):
    """Processes that did not come."""

    failure_class = FailureClass.PROCESSES_MISSING


class ProcessesDisagreeError(M43Error):
    """Processes that do not do the same."""

    failure_class = FailureClass.PROCESSES_DISAGREE


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which process this is, of how many, and where the first one is met (host:port)."""

    process: int
    processes: int
    coordinator: str


def join(
    profile: Profile,
    give_up: Callable[[M43Error], None],
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Find the other processes; from here on JAX computes with the devices of all.

    Args:
        profile: says how many they are, and how long is waited for them.
        give_up: called from another thread when they have not come: jax waits in a call that
            ends the process rather than return.
        environment: of this process.

    Raises:
        ProcessesMissingError: if nothing says where this process is, or where the first one is.
        ProcessesDisagreeError: if they are not as many as the contract promises, or if this one
            was given a token on its way.
    """
    contract, launch = profile.contract, profile.launch
    place = find_place(launch, environment)
    if place.processes != contract.processes:
        raise ProcessesDisagreeError(
            found=f"process {place.process} of {place.processes}",
            expected=f"{contract.processes} processes, as the contract promises",
            where=" ".join(launch.command),
            action="have the launcher start as many, or correct contract.processes",
        )
    given = [name for name in _FROM_OUTSIDE if name in environment]
    if given:
        raise ProcessesDisagreeError(
            found=f"the variable {given[0]} in process {place.process}",
            expected="none: who trains is given no token",
            where=" ".join(launch.command),
            action="have the launcher start with m43's environment alone",
        )
    _require_reachable(place, environment)
    # SIGTERM would be swallowed, and a process that was told to end would go on.
    jax.config.update("jax_enable_preemption_service", False)
    waiting = threading.Timer(launch.meet_s, lambda: give_up(_missing(place, launch)))
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.process,
            # All of its own: jax would take one card a process.
            local_device_ids=list(range(contract.devices // contract.processes)),
            initialization_timeout=int(launch.meet_s) + _LATER_S,
            heartbeat_timeout_seconds=int(launch.heartbeat_s),
        )
    finally:
        waiting.cancel()


def find_place(launch: LaunchTable, environment: Mapping[str, str] = os.environ) -> Place:
    """Find out which process this is, as jax does, before it waits for others.

    Raises:
        ProcessesMissingError: if nothing says it.
    """
    count, number = (_whole(environment.get(name)) for name in _COUNT_AND_NUMBER)
    ompi5 = "OMPI_COMM_WORLD_RANK" in environment and "OMPI_MCA_orte_hnp_uri" not in environment
    if ompi5 and number is None:
        # jax up to 0.10 knows version 4 by itself; the address is asked by mpi4py.
        count, number = (_whole(environment.get(name)) for name in _OPEN_MPI)
    address = environment.get("JAX_COORDINATOR_ADDRESS")
    if None in (address, count, number):
        from jax._src import clusters

        method = "mpi4py" if ompi5 and importlib.util.find_spec("mpi4py") else None
        address, count, number, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            address, count, number, [], method, int(launch.meet_s)
        )
    if address is None or count is None or number is None:
        raise ProcessesMissingError(
            found=f"coordinator {address}, {count} processes, number {number}",
            expected="all three, by Open MPI, by Slurm, or in JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID",
            where=" ".join(launch.command),
            action="start the run by one of them; for Open MPI 5 install mpi4py",
        )
    return Place(process=number, processes=count, coordinator=address)


# As the operators of Kubernetes set them; of these jax itself reads the address only.
_COUNT_AND_NUMBER = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _require_reachable(place: Place, environment: Mapping[str, str]) -> None:
    """Refuse a first process that only its own host can reach, where there are several hosts."""
    host = place.coordinator.rpartition(":")[0].strip("[]")
    here = _whole(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", str(place.processes)))
    nodes = _whole(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if here == place.processes and nodes == 1:
        return
    try:
        found = socket.getaddrinfo(host, None)[0][4][0]
    except OSError:
        # jax says more of a name that nobody knows.
        return
    if ipaddress.ip_address(found).is_loopback:
        raise ProcessesMissingError(
            found=f"{place.coordinator}, which is {found}: each host would wait for itself",
            expected="an address that the other hosts reach",
            where="the address of the first process",
            action="let the host's name lead to its address in /etc/hosts, or set "
            "JAX_COORDINATOR_ADDRESS",
        )


def _missing(place: Place, launch: LaunchTable) -> ProcessesMissingError:
    return ProcessesMissingError(
        found=f"process {place.process} of {place.processes} alone, or not with all, after "
        f"{launch.meet_s:g} s",
        expected=f"all of them at {place.coordinator}",
        where=" ".join(launch.command),
        action="look whether the launcher started all, and whether that port is free and reached "
        "from every host; launch.meet_s is their time",
    )


def _runtime() -> Any:
    # Here and not at the top: a run of one process does not depend on it.
    from jax._src import distributed

    return distributed.global_state


def own_facts(run: RunDir) -> dict[str, str]:
    """Digest what every process must have alike before anything is read: code, packages, profile.

    Of packages their RECORD, in which each wheel wrote the digests of its files; of the code the
    listing of what was handed over, as `sha256sum` writes it.
    """
    found = sorted(
        f"{each.metadata['Name']} {each.version} {_sha256(each.read_text('RECORD') or '')}\n"
        for each in metadata.distributions()
    )
    return {
        "profile_sha256": hashlib.sha256(run.profile.read_bytes()).hexdigest(),
        # The first finder, where this process was begun as a run begins it.
        "code_sha256": getattr(sys.meta_path[0], "sha256", ""),
        "packages_sha256": _sha256("".join(found)),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def told_by_all(topic: str, text: str, within_s: float) -> tuple[str, ...]:
    """Tell the other processes a text, and return what each told, in their order.

    It waits for all of them, and is where they wait for one another on purpose.

    Args:
        topic: a new one each time.
        text: of this process.
        within_s: how long is waited for each.

    Raises:
        ProcessesMissingError: with the one that said nothing.
    """
    here = _runtime()
    if here.client is None:
        return (text,)
    client = here.client
    client.key_value_set(f"m43/{topic}/{here.process_id}", text)
    told = []
    for number in range(here.num_processes):
        try:
            told.append(client.blocking_key_value_get(f"m43/{topic}/{number}", int(1e3 * within_s)))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            raise ProcessesMissingError(
                found=f"nothing of process {number} about {topic!r} after {within_s:g} s",
                expected="all processes at this point",
                where=f"process {here.process_id}",
                action="look at what that process did last",
            ) from error
    return tuple(told)


def require_alike(topic: str, facts: Mapping[str, str], within_s: float) -> None:
    """Hold the facts of all processes against each other.

    Who finds that they differ waits until the others have found it: to one that is still asking,
    the end of this process would be a process that was lost.

    Raises:
        ProcessesDisagreeError: with every fact in which they differ.
    """
    told = [json.loads(text) for text in told_by_all(topic, json.dumps(facts), within_s)]
    differing = [name for name in facts if len({each.get(name) for each in told}) > 1]
    if differing:
        with contextlib.suppress(ProcessesMissingError, jax.errors.JaxRuntimeError):
            told_by_all(f"{topic} differ", "", min(within_s, _READ_S))
        name = differing[0]
        raise ProcessesDisagreeError(
            found="; ".join(f"process {n}: {each.get(name)}" for n, each in enumerate(told)),
            expected="one and the same in all processes",
            where=", ".join(differing),
            action="let every host see the same run folder, checkout, environment and rows",
        )


def leave(within_s: float) -> None:
    """Part when all are done: one that leaves early is taken for lost by the others."""
    told_by_all("end", "done", within_s)
    jax.distributed.shutdown()
