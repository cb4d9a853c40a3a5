"""The hub child as its parent starts and reads it."""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from m43.evidence.contract import CARRIED
from m43.harness.gates.hub_exchange import HubRequest
from m43.harness.process import Child, Outcome, Sight, hub_environment, own_code, run_child
from m43.harness.run import HubAccess
from m43.records import DEFAULT_HUB, ProcessRecord, Profile, write_record

_TAIL_LINES = 8


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Where a child that belongs to a run leaves its traces."""

    log: Path
    heartbeat: Path
    stacks: Path
    silence_s: float


def endpoint_of(hub_access: HubAccess) -> str:
    """Give the address that is asked."""
    return hub_access.endpoint or DEFAULT_HUB


def hub_request(hub_access: HubAccess, profile: Profile) -> HubRequest:
    """Make the request that a profile stands for."""
    return HubRequest(
        endpoint=endpoint_of(hub_access),
        repo=profile.contract.repo,
        revision=profile.contract.revision,
        names=profile.hub.files,
        cache=str(hub_access.cache_dir) if hub_access.cache_dir is not None else "",
        transport=profile.hub.transport,
    )


def run_hub_child(
    job: Literal["ask", "fetch"],
    request: HubRequest,
    hub_access: HubAccess,
    *,
    deadline_s: float,
    see: Callable[[Sight], None],
    traces: Traces | None = None,
    keep: Callable[[ProcessRecord], None] = lambda record: None,
) -> Outcome:
    """Run the child to its end, which comes at the deadline at the latest.

    Raises: OSError, when it cannot be started.
    """
    repository = CARRIED.parents[1]
    with tempfile.TemporaryDirectory(prefix="m43-hub-") as folder:
        path = Path(folder) / "request.json"
        write_record(path, request)
        code = own_code(repository)
        child = Child(
            command=code.command(
                Path(sys.executable), "m43.harness.gates.hub_child", job, str(path)
            ),
            given=code.handed,
            folder=repository,
            environment=environment_of(request, hub_access),
            log=traces.log if traces else Path(os.devnull),
            deadline_s=deadline_s,
            secrets=hub_access.secrets,
            heartbeat=traces.heartbeat if traces else None,
            silence_s=traces.silence_s if traces else float("inf"),
            stacks=traces.stacks if traces else None,
            # Nothing of it needs to be tidied up: what was being written has no name yet.
            grace_s=1.0,
        )
        return run_child(child, see, keep)


def environment_of(request: HubRequest, hub_access: HubAccess) -> Mapping[str, str]:
    """Give the variables of the child."""
    return hub_environment(
        hub_access.environment,
        endpoint=request.endpoint,
        token=hub_access.token.value,
        transport=request.transport,
        outside=not hub_access.hub_is_here,
        parent_pid=os.getpid(),
    )


def ending_words(outcome: Outcome) -> str:
    """Say how a child ended that did not say it itself."""
    tail = " | ".join(line.strip() for line in outcome.stderr[-_TAIL_LINES:] if line.strip())
    status = outcome.record.exit_status
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"the process that asks the hub ended with {how}{f': {tail}' if tail else ''}"
