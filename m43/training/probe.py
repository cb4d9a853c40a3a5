"""The probe: interpreter, packages and devices of this environment. Needs no package."""

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from m43.records import NOT_MEASURED, Device, NumericsRecord, Package, ProbeRecord

# What training imports; the probe says which of them fails rather than let training find out.
_IMPORTED = ("jax", "flax.nnx", "optax", "safetensors", "transformers", "datasets", "numpy")
_NVIDIA_VERSION = Path("/proc/driver/nvidia/version")
_DRIVER_ANSWERS_WITHIN_S = 20.0


@dataclass(frozen=True, kw_only=True)
class _Computed:
    """What JAX computes here, or why it cannot."""

    import_error: str = ""
    devices: tuple[Device, ...] = ()
    default_device: str = ""
    numerics: NumericsRecord = NOT_MEASURED


def probe() -> ProbeRecord:
    """Measure the environment of the running interpreter."""
    folders = _site_packages(sys.path)
    computed = _compute()
    return ProbeRecord(
        executable=sys.executable,
        prefix=sys.prefix,
        python_version=platform.python_version(),
        system=platform.system(),
        release=platform.release(),
        packages=_packages(folders),
        site_packages=tuple(folders),
        import_error=computed.import_error,
        devices=computed.devices,
        default_device=computed.default_device,
        numerics=computed.numerics,
        driver_version=_driver_version(),
        host_memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        disk_free_bytes=shutil.disk_usage(Path.cwd()).free,
    )


def _site_packages(path: Sequence[str]) -> list[str]:
    # Not everything on the path: the repository itself lies there too, and is not installed.
    names = ("site-packages", "dist-packages")
    return [entry for entry in dict.fromkeys(path) if Path(entry).name in names]


def _packages(folders: list[str]) -> tuple[Package, ...]:
    found: dict[str, Package] = {}
    for distribution in metadata.distributions(path=folders):
        # An interrupted installation leaves metadata without a name; it is shown, not hidden.
        name = distribution.metadata["Name"] or "(nameless)"
        version = distribution.metadata["Version"] or "(none)"
        # The first folder on the path wins, as it does for imports.
        found.setdefault(_canonical(name), Package(name=name, version=version))
    return tuple(found[key] for key in sorted(found))


def _canonical(name: str) -> str:
    # Source: packaging specifications, "Names and normalization".
    return re.sub(r"[-_.]+", "-", name).lower()


def _compute() -> _Computed:
    try:
        for name in _IMPORTED:
            importlib.import_module(name)
        import jax

        from m43.training import device
        from m43.training.numerics import check_numerics

        result = check_numerics()
        devices = tuple(
            Device(
                platform=found.platform,
                kind=found.device_kind,
                memory_bytes=device.memory_bytes(found),
            )
            for found in jax.devices()
        )
    # A broken installation can raise anything while it is imported or started: a missing shared
    # library, an attribute of another version, a driver's own error. The reason is the result.
    except Exception as error:  # noqa: BLE001
        return _Computed(import_error=f"{type(error).__name__}: {error}")
    return _Computed(
        devices=devices,
        default_device=result.device,
        numerics=result.record,
    )


def _driver_version() -> str:
    command = shutil.which("nvidia-smi")
    if command is not None:
        version = _ask_driver(command)
        if version:
            return version
    if _NVIDIA_VERSION.exists():
        match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", _NVIDIA_VERSION.read_text())
        if match:
            return match[1]
    return "none"


def _ask_driver(command: str) -> str:
    try:
        answer = subprocess.run(
            [command, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_DRIVER_ANSWERS_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = answer.stdout.split()
    return lines[0] if answer.returncode == 0 and lines else ""
