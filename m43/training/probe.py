"""The probe: interpreter, packages and devices of this environment. Needs no package.

Where several devices are promised, every process probes, and together they try the mesh.
"""

import importlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from m43 import typed_json
from m43.records import (
    NOT_MEASURED,
    Device,
    Exchange,
    MeshRecord,
    NumericsRecord,
    Package,
    ProbedProcess,
    ProbeRecord,
    Profile,
    RunDir,
    write_record,
)
from m43.training.progress import Heartbeats

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
    mesh: MeshRecord | None = None


def probe() -> ProbeRecord:
    """Measure the environment of the running interpreter."""
    return _report(_compute())


def run(run: RunDir, beats: Heartbeats) -> None:
    """Measure the environment of each process, and all their devices together, as one of them.

    What a process finds is written where it leaves its records, and that of the first says what
    all said. Whatever cannot be imported or computed here ends the process, with its record.

    Raises:
        ProcessesDisagreeError: before anything is computed, if a process has another code,
            profile, environment or driver; before anything is exchanged, if other devices.
        DeviceCountError: if they are not as many as the contract promises.
    """
    with beats.phase("import packages"):
        _import_all()
        import jax

        from m43.training import meeting, mesh
    profile = run.read_profile()
    mesh.settle_devices(profile, profile.contract.processes)
    facts = meeting.own_facts(run) | {
        "python_version": platform.python_version(),
        "driver_version": _driver_version(),
    }
    within_s = profile.deadlines.silence_s
    meeting.require_alike("probe", facts, within_s)
    with beats.phase("devices"):
        devices = _devices()
    own, first = run.of_process(jax.process_index()), jax.process_index() == 0
    kinds = sorted({f"{each.platform}:{each.kind}" for each in devices})
    alike = {"devices": f"{len(devices)} of {', '.join(kinds)}"}
    meeting.require_alike("devices", alike, within_s)
    if first:
        with beats.phase("numerics"):
            computed = _compute_all()
    # The others wait for it here: on one host it has their processors as well.
    meeting.told_by_all("numerics", "", within_s)
    tried = _try_mesh(profile, facts, beats)
    if first:
        computed = replace(computed, mesh=tried)
    else:
        where = tried.processes[jax.process_index()].devices[0].partition(" ")[2]
        computed = _Computed(devices=devices, default_device=where)
    write_record(own.probe, _report(computed))


def _try_mesh(profile: Profile, facts: Mapping[str, str], beats: Heartbeats) -> MeshRecord:
    """Compute on every device and exchange along every axis; return what all processes saw."""
    import jax

    from m43.training import meeting, mesh, numerics

    arranged = mesh.arranged(profile)
    assert arranged is not None, "one device has nothing to exchange"
    with beats.phase("compute on every device"):
        products = numerics.check_devices()
    exchanges: list[Exchange] = []
    for axis, size in arranged.shape.items():
        if size > 1:
            with beats.phase(f"exchange along {axis}"):
                exchanges += numerics.exchange_along(arranged, axis)
    own = ProbedProcess(
        process=jax.process_index(),
        host=socket.gethostname(),
        devices=tuple(each.device for each in products),
        wrong_products=tuple(each.wrong_values for each in products),
        **facts,
    )
    said = MeshRecord(mesh=profile.mesh, processes=(own,), exchanges=tuple(exchanges))
    texts = meeting.told_by_all("tried", typed_json.dump_line(said), profile.deadlines.silence_s)
    read = (typed_json.parse(MeshRecord, text, f"process {n}")[0] for n, text in enumerate(texts))
    every = [each for each in read if each is not None]
    return MeshRecord(
        mesh=profile.mesh,
        processes=tuple(process for each in every for process in each.processes),
        exchanges=numerics.seen_by_all([each.exchanges for each in every]),
    )


def _report(computed: _Computed) -> ProbeRecord:
    folders = _site_packages(sys.path)
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
        mesh=computed.mesh,
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
        _import_all()
        return _compute_all()
    # A broken installation can raise anything while it is imported or started: a missing shared
    # library, an attribute of another version, a driver's own error. The reason is the result.
    except Exception as error:  # noqa: BLE001
        return _Computed(import_error=f"{type(error).__name__}: {error}")


def _import_all() -> None:
    for name in _IMPORTED:
        importlib.import_module(name)


def _compute_all() -> _Computed:
    from m43.training.numerics import check_numerics

    result = check_numerics()
    return _Computed(devices=_devices(), default_device=result.device, numerics=result.record)


def _devices() -> tuple[Device, ...]:
    """List the devices of this process."""
    import jax

    from m43.training import device

    return tuple(
        Device(
            platform=found.platform,
            kind=found.device_kind,
            memory_bytes=device.memory_bytes(found),
        )
        for found in jax.local_devices()
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
