"""The snapshots: the environment and the devices as plain text for people."""

import subprocess
from collections.abc import Callable

from m43.records import VenvRecord

_NVIDIA_SMI = ("nvidia-smi",)
_PATIENCE_S = 20.0
_GIB = 2**30


def env_snapshot(record: VenvRecord) -> str:
    """Write the environment: interpreter, places, packages."""
    probe = record.probe
    names = sorted(f"{item.name}=={item.version}" for item in probe.packages)
    lines = [
        f"environment   {record.path}",
        f"interpreter   {record.interpreter}",
        f"python        {probe.python_version}",
        f"system        {probe.system} {probe.release}",
        *(f"packages in   {folder}" for folder in probe.site_packages),
        f"digest        {record.packages_sha256}",
        "",
        *names,
    ]
    return "\n".join(lines) + "\n"


def gpu_snapshot(record: VenvRecord, smi: Callable[[], str]) -> str:
    """Write the devices as JAX saw them and as the driver's own tool shows them."""
    probe = record.probe
    lines = [
        f"driver        {probe.driver_version}",
        f"computed on   {probe.default_device or 'nothing: no computation ran'}",
        *(
            f"device        {device.platform}:{device.kind}, {device.memory_bytes / _GIB:.1f} GiB"
            for device in probe.devices
        ),
    ]
    if not any(device.platform == "gpu" for device in probe.devices):
        lines.append("JAX saw no GPU in this environment.")
    if probe.import_error:
        lines.append(f"JAX said: {probe.import_error}")
    return "\n".join([*lines, "", smi().rstrip()]) + "\n"


def nvidia_smi(command: tuple[str, ...] = _NVIDIA_SMI) -> str:
    """Ask the driver's own tool; say plainly when it is not there or does not answer."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return "There is no nvidia-smi on this machine."
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi did not answer: {type(error).__name__}."
    if answer.returncode != 0:
        return f"nvidia-smi ended with status {answer.returncode}: {answer.stderr.strip()}"
    return answer.stdout
