"""The records of the environment: its packages, its devices, and what its probe found."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from m43.records.numerics_record import NumericsRecord
from m43.records.profile import MeshTable
from m43.typed_json import NOT_WRITTEN_AS_NONE


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed distribution."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A requirement of m43's training and what the environment holds; "absent" if nothing."""

    requirement: str
    installed: str
    satisfied: bool  # by packaging's SpecifierSet over the installed version
    tested: str  # the newest minor version that m43 was tested with, "0.12"

    @property
    def name(self) -> str:
        """The package's name, as the requirement writes it."""
        return re.split("[][<>=~!; ]", self.requirement, maxsplit=1)[0]

    @property
    def newer(self) -> bool:
        """Whether what is installed is of a newer minor version than m43 was tested with."""
        tested = _numbers(self.tested)
        return _numbers(self.installed)[: len(tested)] > tested

    @property
    def installed_words(self) -> str:
        """The version that is installed, and what m43 was tested with where that is older."""
        if not self.newer:
            return self.installed
        return f"{self.installed}, newer than what m43 was tested with ({self.tested})"


def _numbers(version: str) -> list[int]:
    # Of a few digits each: no version has more, and Python refuses to read thousands.
    return [int(part) for part in re.findall("[0-9]{1,9}", version)]


@dataclass(frozen=True, kw_only=True)
class Device:
    """An accelerator (or CPU) as JAX sees it."""

    platform: str
    kind: str
    memory_bytes: int  # for a CPU: the host's memory


Collective = Literal["all-reduce", "all-gather"]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A collective of known values along an axis of the mesh, before anything is trained."""

    axis: str
    operation: Collective
    devices: int  # that take part together: the size of the axis
    values: int  # that were compared, on all devices of all processes
    wrong_values: int  # of them, that are not to the bit what NumPy gives
    payload_bytes: int  # that each device contributes to the one that is timed
    duration_s: float  # the median of some, in the slowest process

    @property
    def bytes_per_s(self) -> float:
        """What a device contributes, by the time until all have all."""
        return self.payload_bytes / self.duration_s if self.duration_s else 0.0

    def __str__(self) -> str:
        return (
            f"{self.operation} along {self.axis}: "
            f"{self.wrong_values:,} of {self.values:,} values wrong"
        )


@dataclass(frozen=True, kw_only=True)
class ProbedProcess:
    """What one process of a mesh said of itself, its environment and its devices."""

    process: int
    host: str
    devices: tuple[str, ...]  # "id platform:kind", where a product of whole numbers was computed
    wrong_products: tuple[int, ...]  # of each device: values that are not to the bit NumPy's
    profile_sha256: str
    code_sha256: str
    packages_sha256: str  # of the RECORD of every installed distribution
    python_version: str
    driver_version: str


@dataclass(frozen=True, kw_only=True)
class MeshRecord:
    """What the devices of a mesh computed and exchanged, and the processes that hold them."""

    mesh: MeshTable
    processes: tuple[ProbedProcess, ...]  # in their order, each as it told the others
    exchanges: tuple[Exchange, ...]

    @property
    def wrong_values(self) -> int:
        """How many values were computed or arrived wrong."""
        computed = (wrong for each in self.processes for wrong in each.wrong_products)
        return sum(computed) + sum(each.wrong_values for each in self.exchanges)

    @property
    def wrong_words(self) -> tuple[str, ...]:
        """What was computed or arrived wrong, a sentence each."""
        computed = (
            f"{wrong:,} values of a product wrong on device {device} of process {each.process}"
            for each in self.processes
            for device, wrong in zip(each.devices, each.wrong_products, strict=False)
            if wrong
        )
        arrived = (str(each) for each in self.exchanges if each.wrong_values)
        return (*computed, *arrived)

    @property
    def right_devices(self) -> int:
        """How many devices computed and, along every axis, exchanged right; 0 if a value is wrong.

        Those of an axis count where both collectives were compared along it.
        """
        if self.wrong_values:
            return 0
        compared = {(each.axis, each.operation): each.devices for each in self.exchanges
                    if each.values > 0}  # fmt: skip
        sizes = [
            min(compared.get((axis, "all-reduce"), 1), compared.get((axis, "all-gather"), 1))
            for axis in {each.axis for each in self.exchanges}
        ]
        return min(math.prod(sizes), sum(len(each.wrong_products) for each in self.processes))


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """What the probe child printed about the interpreter that ran it."""

    executable: str
    prefix: str
    python_version: str
    system: str  # platform.system(): "Linux", "Windows", ...
    release: str
    packages: tuple[Package, ...] = field(repr=False)
    site_packages: tuple[str, ...]  # the folders in which the packages lie
    import_error: str  # empty, or why JAX could not be imported or started
    devices: tuple[Device, ...]
    default_device: str  # "platform:kind" that a computation really ran on; empty if none ran
    numerics: NumericsRecord
    driver_version: str  # "none" without an NVIDIA driver
    host_memory_bytes: int
    disk_free_bytes: int
    # Of the first process, where several devices are promised.
    mesh: MeshRecord | None = field(default=None, metadata=NOT_WRITTEN_AS_NONE)


@dataclass(frozen=True, kw_only=True)
class VenvRecord:
    """The environment that trains. `venv.json`."""

    path: str
    interpreter: str
    probe: ProbeRecord
    requirements: tuple[Requirement, ...] = field(repr=False)
    packages_sha256: str
    altered: tuple[str, ...]  # files that the probe imported, and that RECORD has otherwise
    unrecorded: tuple[str, ...]  # that no RECORD has
    duration_s: float

    @property
    def device(self) -> str:
        """Where a computation really ran, as platform:kind."""
        return self.probe.default_device

    @property
    def right_devices(self) -> int:
        """How many devices computed, and exchanged right where they are several."""
        mesh = self.probe.mesh
        return int(bool(self.probe.default_device)) if mesh is None else mesh.right_devices

    @property
    def unsatisfied(self) -> tuple[str, ...]:
        """The requirements that the environment does not meet, with what it holds."""
        return tuple(
            f"{item.requirement} (installed: {item.installed})"
            for item in self.requirements
            if not item.satisfied
        )

    @property
    def tested_versions(self) -> tuple[str, ...]:
        """What m43 was tested with of each package that training needs."""
        return tuple(item.tested for item in self.requirements)

    @property
    def newer(self) -> tuple[str, ...]:
        """The packages that are newer than what m43 was tested with, with both versions."""
        return tuple(
            f"{item.name} {item.installed} (tested with: {item.tested})"
            for item in self.requirements
            if item.newer
        )


# --- train-300 ---------------------------------------------------------------------------------
