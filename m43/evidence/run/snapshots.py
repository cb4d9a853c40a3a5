"""The environment as text: what the venv gate writes beside its record, for people."""

from m43.records import VenvRecord
from m43.text import size_words


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


def exchanged(record: VenvRecord) -> tuple[str, ...]:
    """Say what the devices of a mesh exchanged, and how fast; nothing of one device."""
    mesh = record.probe.mesh
    if mesh is None:
        return ()
    return tuple(
        f"{each}, {each.devices} devices at {each.bytes_per_s / 1e9:.3g} GB/s of each"
        for each in mesh.exchanges
    )


def devices_snapshot(record: VenvRecord) -> str:
    """Write the devices as JAX saw them: the beginning of `gpu_snapshot.txt`."""
    probe = record.probe
    lines = [
        f"driver        {probe.driver_version}",
        f"computed on   {probe.default_device or 'nothing: no computation ran'}",
        *(
            f"device        {device.platform}:{device.kind}, {size_words(device.memory_bytes)}"
            for device in probe.devices
        ),
    ]
    lines += [f"exchanged     {line}" for line in exchanged(record)]
    if not any(device.platform == "gpu" for device in probe.devices):
        lines.append("JAX saw no GPU in this environment.")
    if probe.import_error:
        lines.append(f"JAX said: {probe.import_error}")
    return "\n".join(lines) + "\n"
